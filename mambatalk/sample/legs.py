"""Motion rules of the legs: steps and weight shifts, and the leg rotations that follow from them.

Positions of feet and pelvis are planned first. Both legs are then solved in closed form from hip to
ankle, so that a standing foot does not move at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mambatalk.motion.skeleton import LEG_CHAINS
from mambatalk.sample.curves import Curve, bump, ease
from mambatalk.sample.style import SpeakerStyle

SHIFT: Final = 0.9
"""Duration of a weight shift, seconds."""
STEP: Final = 0.55
"""Time that a foot is in the air during a step, seconds."""
_STRIDE: Final = 0.13
"""Length of a step, metres."""
_LIFT: Final = 0.05
"""Height of a step, metres."""
_SWAY: Final = 0.035
"""Lateral movement of the pelvis towards the standing leg, metres."""
_BEND: Final = 0.012
"""Distance of the pelvis below its height with straight legs, metres."""


@dataclass(frozen=True)
class Stance:
    """Positions of feet and pelvis over time."""

    ankles: tuple[Curve, Curve]
    """Positions (n, 3) of the left and right ankle, metres."""
    pelvis: Curve
    """Positions (n, 3) of the pelvis, metres."""
    events: list[dict[str, object]]
    """Steps and weight shifts."""


def plan_stance(
    time: Curve,
    style: SpeakerStyle,
    rest: Curve,
    sentences: Sequence[tuple[float, float]],
    random: np.random.Generator,
) -> Stance:
    """Plan steps and weight shifts.

    At the start of a sentence the weight shifts to the other leg. In about every third sentence
    both feet step forward or back instead.

    Args:
        time: Times (n,), seconds.
        style: The speaker.
        rest: Rest joints (55, 3) of the speaker's body, metres. The soles are at y = 0.
        sentences: Start and end of each sentence, seconds.
        random: Chooses the place of the speaker and the sentences with steps.

    """
    heading = Rotation.from_euler("y", style.turn)
    home = random.uniform(-0.25, 0.25, 2) * np.array([1, 0.5])
    sole = float(rest[:, 1].min()) - 0.03
    ankle_height = float(rest[7, 1]) - sole
    feet = []
    for x in (style.stance / 2, -style.stance / 2):
        position = heading.apply(np.array([x, 0, 0])) + [home[0], ankle_height, home[1]]
        feet.append(np.tile(position, (len(time), 1)))

    weight = np.zeros(len(time))
    side = 0.0  # The leg that carries the weight: 1 left, -1 right, 0 both.
    direction = 1.0  # Of the next step: 1 forward, -1 back.
    events: list[dict[str, object]] = []
    for start, end in sentences:
        long_enough = end - start > 2 * (SHIFT + STEP) - 0.6
        if long_enough and random.random() < 0.4:
            stride = heading.apply([0, 0, direction * _STRIDE])
            first_lift = start + SHIFT / 2
            for leg, lift in ((0, first_lift), (1, first_lift + STEP + SHIFT / 2)):
                middle_of_step = lift + STEP / 2
                height = bump(time, middle_of_step, rise=STEP / 2, fall=STEP / 2)
                feet[leg] += ease(time, lift, lift + STEP)[:, None] * stride
                feet[leg][:, 1] += _LIFT * height
                # The weight moves to the other leg before the foot is lifted.
                standing = (-1.0, 1.0)[leg]
                weight += ease(time, lift - SHIFT / 2, lift) * (standing - side)
                side = standing
                events.append(_event("step", middle_of_step, ("left", "right")[leg]))
            direction = -direction
        else:
            target = 1.0 if side <= 0 else -1.0
            weight += ease(time, start, start + SHIFT) * (target - side)
            side = target
            events.append(_event("shift", start + SHIFT / 2, "left" if target > 0 else "right"))

    middle = (feet[0] + feet[1]) / 2
    lateral = heading.apply([1, 0, 0])
    pelvis = middle + weight[:, None] * _SWAY * lateral
    pelvis[:, 1] = -sole + float(rest[0, 1]) - _BEND - 0.006 * weight**2
    return Stance((feet[0], feet[1]), pelvis, events)


def _event(kind: str, time: float, side: str) -> dict[str, object]:
    return {"kind": kind, "time": round(time, 4), "side": side}


def leg_rotations(stance: Stance, rest: Curve, root: Rotation, foot: Rotation) -> dict[int, Curve]:
    """Solve the rotations of hips, knees and ankles that place the ankles as planned.

    Args:
        stance: Positions of ankles and pelvis.
        rest: Rest joints (55, 3), metres.
        root: Orientation of the pelvis in each of n frames.
        foot: Orientation of both feet, constant.

    Returns:
        Axis-angle rotations (n, 3) by SMPL-X joint.

    """
    rotations: dict[int, Curve] = {}
    forward = foot.apply([0, 0, 1])
    for side, (hip, knee, ankle, _) in enumerate(LEG_CHAINS):
        hips = stance.pelvis + root.apply(rest[hip] - rest[0])
        ankles = stance.ankles[side]
        thigh = rest[knee] - rest[hip]
        shin = rest[ankle] - rest[knee]
        thigh_length = float(np.linalg.norm(thigh))
        shin_length = float(np.linalg.norm(shin))
        knees = _knee_positions(hips, ankles, forward, thigh_length, shin_length)
        upper = _align(thigh, knees - hips, forward)
        lower = _align(shin, ankles - knees, forward)
        rotations[hip] = (root.inv() * upper).as_rotvec()
        rotations[knee] = (upper.inv() * lower).as_rotvec()
        rotations[ankle] = (lower.inv() * foot).as_rotvec()
    return rotations


def _knee_positions(hip: Curve, ankle: Curve, forward: Curve, thigh: float, shin: float) -> Curve:
    """Return the knee positions (n, 3): the apex of a triangle of thigh and shin, bent forward."""
    line = ankle - hip
    reach = np.minimum(np.linalg.norm(line, axis=1), thigh + shin - 1e-4)
    line /= np.linalg.norm(line, axis=1, keepdims=True)
    # Distance from the hip to the foot of the triangle's height (law of cosines), and that height.
    along = (thigh**2 - shin**2 + reach**2) / (2 * reach)
    height = np.sqrt(np.maximum(thigh**2 - along**2, 0))
    out = forward - (line @ forward)[:, None] * line
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    return hip + along[:, None] * line + height[:, None] * out


def _align(rest_bone: Curve, bones: Curve, forward: Curve) -> Rotation:
    """Return rotations from a rest bone (3,) to bones (n, 3) whose front side faces forward."""
    rest_frame = _bone_frames(rest_bone[None], np.array([0.0, 0.0, 1.0]))
    return Rotation.from_matrix(_bone_frames(bones, forward) @ rest_frame.transpose(0, 2, 1))


def _bone_frames(bones: Curve, forward: Curve) -> NDArray[np.float64]:
    """Return right-handed frames (n, 3, 3) with the columns side, bone and front."""
    along = bones / np.linalg.norm(bones, axis=1, keepdims=True)
    side = np.cross(along, forward)
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    return np.stack([side, along, np.cross(side, along)], axis=-1)
