"""Motion rules of arms and hands: rest pose, beats, and the gestures of eight words.

An arm has seven angles, mirrored between left and right so that one table serves both, which are
converted to SMPL-X rotations at the end. In the T-pose all angles are zero except `spread`, which
is measured from the hanging arm.
"""

from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mambatalk.sample.curves import Curve, bump
from mambatalk.sample.speech_track import LOUD, Stress
from mambatalk.sample.style import SpeakerStyle

ARM_ANGLES: Final = ("swing", "spread", "twist", "elbow", "roll", "wrist", "curl")
"""Angles of one arm, radians: upper arm forward, upper arm away from the body, outward rotation
about the upper arm, elbow flexion, forearm rotation (palm up), wrist flexion (palm in), finger
flexion."""
BEAT_RISE: Final = 0.28
BEAT_FALL: Final = 0.34
"""Duration of a beat before and after its peak, seconds."""
GESTURE_RISE: Final = 0.42
GESTURE_FALL: Final = 0.50
"""Duration of a gesture before and after its peak, seconds."""
_BEAT: Final = np.array([0.42, 0.10, 0.10, 0.35, 0.35, -0.25, -0.25])
"""Added to the angles of the arm at the peak of a loud beat."""
_OTHER_ARM: Final = 0.35
_OTHER_ARM_LOUD: Final = 0.7
"""Size of a beat of the other arm relative to the leading one, for small and loud beats."""
GESTURES: Final = MappingProxyType(
    {
        # Word: angles of the left and right arm at the peak of the gesture, as in `ARM_ANGLES`.
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
_LEFT_SHOULDER, _LEFT_ELBOW, _LEFT_WRIST = 16, 18, 20
_HANG: Final = 1.40
"""Angle between the arm of the T-pose and an arm that hangs without spread, radians."""
_FINGER_SPREAD: Final = np.repeat([0.10, 0.0, -0.16, -0.08, 0.0], 3) * np.tile([1, 0, 0], 5)


def arm_angles(time: Curve, style: SpeakerStyle, stresses: list[Stress]) -> tuple[Curve, Curve]:
    """Return the angles (n, 7) of the left and right arm at times (n,) in seconds.

    Args:
        time: Times (n,) in seconds.
        style: The speaker.
        stresses: Stressed syllables, each with a beat or a gesture.

    Returns:
        Angles of the left and of the right arm, in radians and in the order of `ARM_ANGLES`.

    """
    rest = (rest_angles(style, 0), rest_angles(style, 1))
    arms = [np.tile(rest[0], (len(time), 1)), np.tile(rest[1], (len(time), 1))]
    for stress in stresses:
        gesture = GESTURES.get(stress.word)
        if gesture is not None:
            shape = bump(time, stress.time, rise=GESTURE_RISE, fall=GESTURE_FALL, hold=0.6)
            for side in (0, 1):
                arms[side] += shape[:, None] * (np.array(gesture[side]) - rest[side])
        else:
            shape = bump(time, stress.time, rise=BEAT_RISE, fall=BEAT_FALL)
            for side in (0, 1):
                size = style.amplitude * stress.level * _relative_size(style, side, stress.level)
                arms[side] += size * shape[:, None] * _BEAT
    return arms[0], arms[1]


def rest_angles(style: SpeakerStyle, side: int) -> Curve:
    """Return the angles (7,) of one arm at rest; side 0 is left."""
    return np.array([0.12, style.spread, -0.1, style.elbow[side], 0.1, 0.05, 0.35])


def beat_side(style: SpeakerStyle, stress: Stress) -> str:
    """Return which arm leads a beat or gesture: left, right or both."""
    return "both" if stress.word in GESTURES or stress.level >= LOUD else style.hand


def _relative_size(style: SpeakerStyle, side: int, level: float) -> float:
    """Return the size of a beat of one arm relative to the leading arm."""
    if style.hand in ("both", ("left", "right")[side]):
        return 1.0
    return _OTHER_ARM_LOUD if level >= LOUD else _OTHER_ARM


def arm_rotations(angles: Curve, side: int) -> dict[int, Curve]:
    """Convert angles (n, 7) of one arm to axis-angle rotations (n, 3) by SMPL-X joint.

    Args:
        angles: Angles in the order of `ARM_ANGLES`, radians.
        side: 0 for the left arm, 1 for the right one.

    """
    swing, spread, twist, elbow, roll, wrist, _ = angles.T
    shoulder = (
        _rotation_about("x", -swing)
        * _rotation_about("z", spread - _HANG)
        * _rotation_about("x", -twist)
    )
    # Forearm rotation is shared between elbow and wrist.
    wrist_roll = _rotation_about("x", -0.7 * roll)
    joints = {
        _LEFT_SHOULDER: shoulder,
        _LEFT_ELBOW: _rotation_about("y", -elbow) * _rotation_about("x", -0.3 * roll),
        _LEFT_WRIST: wrist_roll * _rotation_about("z", -wrist),
    }
    # In SMPL-X each right joint follows its left one.
    return {joint + side: _mirror(rotation.as_rotvec(), side) for joint, rotation in joints.items()}


def finger_rotations(angles: Curve, side: int) -> Curve:
    """Convert angles (n, 7) of one arm to axis-angle rotations (n, 45) of its fingers.

    The order is that of SMPL-X: index, middle, pinky, ring, thumb, three joints each.
    """
    curl = angles[:, 6]
    bend = np.zeros((len(curl), 15, 3))
    bend[:, :12, 2] = -curl[:, None] * np.tile([0.9, 1.2, 0.8], 4)
    bend[:, :, 1] += _FINGER_SPREAD * (1 - np.clip(curl, 0, 1))[:, None]
    bend[:, 12:, 1] = -curl[:, None] * np.array([0.5, 0.4, 0.6])
    return _mirror(bend, side).reshape(len(curl), 45)


def _rotation_about(axis: str, angle: Curve) -> Rotation:
    return Rotation.from_rotvec(angle[:, None] * np.eye(3)["xyz".index(axis)])


def _mirror(rotvec: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """Mirror axis-angle rotations of the right side (side 1) at the plane x = 0."""
    return rotvec * np.array([1, -1, -1]) if side else rotvec
