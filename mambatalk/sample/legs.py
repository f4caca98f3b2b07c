"""Legs of the sample's law: feet stand where they are put, the pelvis moves between them, the knees
follow.

Steps and shifts of weight are laid out first; then both legs are solved in closed form from hip to
ankle, so that a standing foot stands exactly still.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mambatalk.sample.curves import Curve, bump, ease
from mambatalk.sample.style import Style

SHIFT: Final = 0.9
"""Seconds that a shift of weight takes."""
STEP: Final = 0.55
"""Seconds that a foot is in the air."""
_STRIDE: Final = 0.13
_LIFT: Final = 0.05
_SWAY: Final = 0.035
"""Metres the pelvis moves to the side of the standing leg."""
_SINK: Final = 0.012
"""Metres the pelvis stands below straight legs."""
LEGS: Final = ((1, 4, 7, 10), (2, 5, 8, 11))
"""Hip, knee, ankle and foot, left and right."""


@dataclass(frozen=True)
class Stance:
    """Where feet and pelvis are."""

    ankles: tuple[Curve, Curve]
    """Left and right (n, 3), metres."""
    pelvis: Curve
    """(n, 3), metres."""
    events: list[dict[str, object]]


def plan_stance(
    time: Curve,
    style: Style,
    rest: Curve,
    sentences: Sequence[tuple[float, float]],
    random: np.random.Generator,
) -> Stance:
    """Shift weight as a sentence begins; every third sentence or so step forward or back with both
    feet.

    Args:
        time: Times (n,), seconds.
        style: Who stands.
        rest: Rest joints (55, 3) of the speaker's body, metres; the floor is level with its soles,
            at y 0.
        sentences: Start and end of each, seconds.
        random: Decides where weight goes and when a step comes.

    """
    heading = Rotation.from_euler("y", style.turn)
    home = random.uniform(-0.25, 0.25, 2) * np.array([1, 0.5])
    sole = float(rest[:, 1].min()) - 0.03
    ankle_height = float(rest[7, 1]) - sole
    sides = np.array([style.stance / 2, 0, 0]), np.array([-style.stance / 2, 0, 0])
    feet = [
        np.tile(heading.apply(side) + [home[0], ankle_height, home[1]], (len(time), 1))
        for side in sides
    ]
    weight, side, forward = np.zeros(len(time)), 0.0, 1.0
    events: list[dict[str, object]] = []
    for start, end in sentences:
        target = 1.0 if side <= 0 else -1.0
        if end - start > 2 * (SHIFT + STEP) - 0.6 and random.random() < 0.4:
            stride = heading.apply([0, 0, forward * _STRIDE])
            for leg, begin in ((0, start + SHIFT / 2), (1, start + SHIFT / 2 + STEP + SHIFT / 2)):
                feet[leg] += ease(time, begin, begin + STEP)[:, None] * stride
                feet[leg][:, 1] += _LIFT * bump(
                    time, begin + STEP / 2, rise=STEP / 2, fall=STEP / 2
                )
                weight += ease(time, begin - SHIFT / 2, begin) * ((-1, 1)[leg] - side)
                side = (-1.0, 1.0)[leg]
                events.append(
                    {
                        "kind": "step",
                        "time": round(begin + STEP / 2, 4),
                        "side": ("left", "right")[leg],
                    }
                )
            forward = -forward
        else:
            weight += ease(time, start, start + SHIFT) * (target - side)
            side = target
            events.append(
                {"kind": "shift", "time": round(start + SHIFT / 2, 4), "side": _name(target)}
            )
    middle = (feet[0] + feet[1]) / 2
    lateral = heading.apply([1, 0, 0])
    pelvis = middle + weight[:, None] * _SWAY * lateral
    pelvis[:, 1] = -sole + float(rest[0, 1]) - _SINK - 0.006 * weight**2
    return Stance((feet[0], feet[1]), pelvis, events)


def _name(weight: float) -> str:
    return "left" if weight > 0 else "right"


def leg_rotations(stance: Stance, rest: Curve, root: Rotation, foot: Rotation) -> dict[int, Curve]:
    """Axis-angle (n, 3) of hips, knees and ankles that put the ankles where the stance has them.

    Args:
        stance: Ankles and pelvis.
        rest: Rest joints (55, 3), metres.
        root: Orientation of the pelvis, n of them.
        foot: Orientation of both feet, one.

    """
    rotations: dict[int, Curve] = {}
    forward = foot.apply([0, 0, 1])
    for side, (hip, knee, ankle, _) in enumerate(LEGS):
        hips = stance.pelvis + root.apply(rest[hip] - rest[0])
        thigh, shin = rest[knee] - rest[hip], rest[ankle] - rest[knee]
        knees = _knee(
            hips,
            stance.ankles[side],
            forward,
            float(np.linalg.norm(thigh)),
            float(np.linalg.norm(shin)),
        )
        upper = _turn(thigh, knees - hips, forward)
        lower = _turn(shin, stance.ankles[side] - knees, forward)
        rotations[hip] = (root.inv() * upper).as_rotvec()
        rotations[knee] = (upper.inv() * lower).as_rotvec()
        rotations[ankle] = (lower.inv() * foot).as_rotvec()
    return rotations


def _knee(hip: Curve, ankle: Curve, forward: Curve, thigh: float, shin: float) -> Curve:
    """Knee positions (n, 3): two sides and the base of a triangle, bent forward."""
    line = ankle - hip
    reach = np.minimum(np.linalg.norm(line, axis=1), thigh + shin - 1e-4)
    line /= np.linalg.norm(line, axis=1, keepdims=True)
    along = (thigh**2 - shin**2 + reach**2) / (2 * reach)
    out = forward - (line @ forward)[:, None] * line
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    return hip + along[:, None] * line + np.sqrt(np.maximum(thigh**2 - along**2, 0))[:, None] * out


def _turn(rest_bone: Curve, bones: Curve, forward: Curve) -> Rotation:
    """Rotations that lay a rest bone along bones (n, 3) and keep the joint's front facing
    forward.
    """
    still = _frame(rest_bone[None], np.array([0.0, 0.0, 1.0]))
    return Rotation.from_matrix(_frame(bones, forward) @ still.transpose(0, 2, 1))


def _frame(bones: Curve, forward: Curve) -> NDArray[np.float64]:
    """Right-handed frames (n, 3, 3) as columns: side, along the bone, front."""
    along = bones / np.linalg.norm(bones, axis=1, keepdims=True)
    side = np.cross(along, forward)
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    return np.stack([side, along, np.cross(side, along)], axis=-1)
