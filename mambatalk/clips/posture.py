"""Statistics of poses: rotation of groups of joints, posture and frozen limbs."""

from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mambatalk.motion.skeleton import FPS, JOINTS


def _joints(*prefixes: str) -> list[int]:
    return [index for index, joint in enumerate(JOINTS) if joint.startswith(prefixes)]


def _joints_of_both_sides(*names: str) -> list[int]:
    left = _joints(*(f"left_{name}" for name in names))
    right = _joints(*(f"right_{name}" for name in names))
    return left + right


JOINT_GROUPS: Final = MappingProxyType(
    {
        "trunk": _joints("spine", "neck", "head", "left_collar", "right_collar"),
        "arms": _joints_of_both_sides("shoulder", "elbow", "wrist"),
        "legs": _joints_of_both_sides("hip", "knee", "ankle", "foot"),
        "jaw": _joints("jaw"),
        "eyes": _joints("left_eye", "right_eye"),
        "hands": list(range(25, 55)),
    }
)
"""Joints with similar limits. The pelvis has no limit, because a person may face any direction."""
_ARM_NAMES: Final = ("shoulder", "elbow", "wrist", "index", "middle", "pinky", "ring", "thumb")
ARM_JOINTS: Final = tuple(
    _joints(*(f"{side}_{name}" for name in _ARM_NAMES)) for side in ("left", "right")
)
"""Joints of the left and of the right arm, with the hand."""
STILL_ANGLE: Final = 1e-6
"""Rotation in radians per frame below which a joint counts as frozen; tracked joints never are."""

Floats = NDArray[np.floating[Any]]


def posture_statistics(poses: Floats, angles: Floats, speed: Floats) -> dict[str, Any]:
    """Return statistics of the poses of a clip.

    Args:
        poses: Axis-angle rotations (n, 165) in radians.
        angles: Rotation angles (n, 55) in radians.
        speed: Joint speeds (n - 1, 55) in rad/s.

    Returns:
        `angle_*`, the largest rotation (0 to pi) in each group of joints; `tilt`, the median angle
        between the body's vertical axis and the world's; `frozen_limb_seconds`, the longest time
        for which one arm did not move at all while the other one did.

    """
    shortest = _shortest_angle(angles) if angles.max() > np.pi else angles
    largest = shortest.max(axis=0)
    group_angles = {
        f"angle_{group}": float(largest[joints].max()) for group, joints in JOINT_GROUPS.items()
    }
    left, right = (np.all(speed[:, joints] < STILL_ANGLE * FPS, axis=-1) for joints in ARM_JOINTS)
    frozen = max(longest_run(left & ~right), longest_run(right & ~left))
    return {
        **group_angles,
        "tilt": _tilt(poses[:, :3], angles[:, 0]),
        "frozen_limb_seconds": frozen / FPS,
    }


def longest_run(flags: NDArray[np.bool_]) -> int:
    """Return the length of the longest run of True."""
    first, last = longest_span(flags)
    return last - first


def longest_span(flags: NDArray[np.bool_]) -> tuple[int, int]:
    """Return start and end (exclusive) of the longest run of True; 0 and 0 if there is none."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    starts, ends = edges[::2], edges[1::2]
    if not len(starts):
        return 0, 0
    longest = int((ends - starts).argmax())
    return int(starts[longest]), int(ends[longest])


def _shortest_angle(angles: Floats) -> Floats:
    """Return the angle from 0 to pi of the same rotation."""
    return np.abs((angles + np.pi) % (2 * np.pi) - np.pi)


def _tilt(root: Floats, angles: Floats) -> float:
    return float(np.arccos(np.clip(np.median(vertical_share(root, angles)), -1, 1)))


def vertical_share(root: Floats, angles: Floats) -> Floats:
    """Return the cosine (n,) of the angle between the body's vertical axis and the world's.

    Args:
        root: Rotations of the body (n, 3), axis-angle in radians.
        angles: Angles (n,) of these rotations in radians.

    """
    # Rodrigues' formula for the y component of the rotated y axis.
    axis_y = root[:, 1] / np.maximum(angles, 1e-12)
    return np.cos(angles) + axis_y**2 * (1 - np.cos(angles))
