"""Arms and hands of the sample's law: rest, beats, and the words that have a gesture of their own.

An arm is seven angles, mirrored between the sides, so that one table serves both; they become
SMPL-X rotations at the end. The T-pose is all zeros but `spread`, which is measured from the
hanging arm.
"""

from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mambatalk.sample.curves import Curve, bump
from mambatalk.sample.style import Style
from mambatalk.sample.track import LOUD, Stress

ARM: Final = ("swing", "spread", "twist", "elbow", "roll", "wrist", "curl")
"""Upper arm forward, upper arm away from the body, turn about the upper arm (outward), elbow bend,
forearm turn (palm up), wrist bend (palm in), finger bend; radians."""
BEAT_RISE: Final = 0.28
BEAT_FALL: Final = 0.34
GESTURE_RISE: Final = 0.42
GESTURE_FALL: Final = 0.50
_BEAT: Final = np.array([0.42, 0.10, 0.10, 0.35, 0.35, -0.25, -0.25])
"""Added to the beating arm at the height of a loud beat."""
_FOLLOW: Final = 0.35
_FOLLOW_LOUD: Final = 0.7
"""Share of a beat that the other arm joins in with."""
GESTURES: Final = MappingProxyType(
    {
        # Word: left arm, right arm at the height of the gesture, in the order of `ARM`.
        "huge": ((0.55, 1.15, 0.3, 0.45, 0.3, 0.1, 0.05), (0.55, 1.15, 0.3, 0.45, 0.3, 0.1, 0.05)),
        "tiny": (
            (0.75, 0.05, -0.45, 1.75, 0.0, 0.2, 0.75),
            (0.75, 0.05, -0.45, 1.75, 0.0, 0.2, 0.75),
        ),
        "rise": ((1.30, 0.35, 0.1, 1.25, 1.2, -0.2, 0.1), (1.30, 0.35, 0.1, 1.25, 1.2, -0.2, 0.1)),
        "push": (
            (1.30, 0.0, -0.05, 0.40, -0.6, -0.9, 0.05),
            (1.30, 0.0, -0.05, 0.40, -0.6, -0.9, 0.05),
        ),
        "stop": ((0.10, 0.25, 0.0, 1.0, 0.0, 0.0, 0.3), (1.05, 0.30, 0.2, 1.55, -0.9, -0.8, 0.0)),
        "circle": (
            (0.85, 0.75, -1.0, 1.25, 0.0, 0.4, 0.3),
            (0.85, 0.75, -1.0, 1.25, 0.0, 0.4, 0.3),
        ),
        "myself": (
            (0.30, 0.40, -1.07, 2.17, 0.2, 0.3, 0.15),
            (0.45, 0.15, -0.2, 0.9, 0.0, 0.0, 0.3),
        ),
        "maybe": (
            (0.25, 0.60, 0.85, 1.35, 1.3, -0.3, 0.05),
            (0.25, 0.60, 0.85, 1.35, 1.3, -0.3, 0.05),
        ),
    }
)
_HANG: Final = 1.40
"""Angle from the T-pose's arm to one that hangs with no spread, radians."""
_FINGER_SPREAD: Final = np.repeat([0.10, 0.0, -0.16, -0.08, 0.0], 3) * np.tile([1, 0, 0], 5)


def arm_angles(time: Curve, style: Style, stresses: list[Stress]) -> tuple[Curve, Curve]:
    """Angles (n, 7) of the left and the right arm at times (n,) in seconds."""
    rest = (rest_angles(style, 0), rest_angles(style, 1))
    arms = [np.tile(rest[0], (len(time), 1)), np.tile(rest[1], (len(time), 1))]
    for stress in stresses:
        target = GESTURES.get(stress.word)
        for side in (0, 1):
            if target is not None:
                shape = bump(time, stress.time, rise=GESTURE_RISE, fall=GESTURE_FALL, hold=0.6)
                arms[side] += shape[:, None] * (np.array(target[side]) - rest[side])
            else:
                size = style.amplitude * stress.level * _share(style, side, stress.level)
                arms[side] += (
                    size * bump(time, stress.time, rise=BEAT_RISE, fall=BEAT_FALL)[:, None] * _BEAT
                )
    return arms[0], arms[1]


def rest_angles(style: Style, side: int) -> Curve:
    """Angles (7,) of one arm at rest; side 0 is left."""
    return np.array([0.12, style.spread, -0.1, style.elbow[side], 0.1, 0.05, 0.35])


def beat_side(style: Style, stress: Stress) -> str:
    """Which arm leads a stroke: left, right or both."""
    return "both" if stress.word in GESTURES or stress.level >= LOUD else style.hand


def _share(style: Style, side: int, level: float) -> float:
    if style.hand in ("both", ("left", "right")[side]):
        return 1.0
    return _FOLLOW_LOUD if level >= LOUD else _FOLLOW


def arm_rotations(angles: Curve, side: int) -> dict[int, Curve]:
    """Axis-angle (n, 3) of shoulder, elbow and wrist of one arm, by SMPL-X joint; side 0 is
    left.
    """
    swing, spread, twist, elbow, roll, wrist, _ = angles.T
    shoulder = _about("x", -swing) * _about("z", spread - _HANG) * _about("x", -twist)
    turned = _about("x", -0.7 * roll)
    joints = {
        16: shoulder,
        18: _about("y", -elbow) * _about("x", -0.3 * roll),
        20: turned * _about("z", -wrist),
    }
    return {joint + side: _mirror(rotation.as_rotvec(), side) for joint, rotation in joints.items()}


def finger_rotations(angles: Curve, side: int) -> Curve:
    """Axis-angle (n, 45) of one hand's fingers: index, middle, pinky, ring, thumb, three joints
    each.
    """
    curl = angles[:, 6]
    bend = np.zeros((len(curl), 15, 3))
    bend[:, :12, 2] = -curl[:, None] * np.tile([0.9, 1.2, 0.8], 4)
    bend[:, :, 1] += _FINGER_SPREAD * (1 - np.clip(curl, 0, 1))[:, None]
    bend[:, 12:, 1] = -curl[:, None] * np.array([0.5, 0.4, 0.6])
    return _mirror(bend, side).reshape(len(curl), 45)


def _about(axis: str, angle: Curve) -> Rotation:
    return Rotation.from_rotvec(angle[:, None] * np.eye(3)["xyz".index(axis)])


def _mirror(rotvec: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """Mirror axis-angles at the plane between left and right."""
    return rotvec * np.array([1, -1, -1]) if side else rotvec
