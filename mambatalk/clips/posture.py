"""What a body's pose says by itself: how far each group of joints turns, how it stands, and whether
one arm is lost.
"""

from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mambatalk.motion.skeleton import FPS, JOINTS


def _joints(*names: str) -> list[int]:
    return [place for place, joint in enumerate(JOINTS) if joint.startswith(names)]


GROUPS: Final = MappingProxyType(
    {
        "trunk": _joints("spine", "neck", "head", "left_collar", "right_collar"),
        "arms": [
            place
            for side in ("left", "right")
            for place in _joints(f"{side}_shoulder", f"{side}_elbow", f"{side}_wrist")
        ],
        "legs": [
            place
            for side in ("left", "right")
            for place in _joints(f"{side}_hip", f"{side}_knee", f"{side}_ankle", f"{side}_foot")
        ],
        "jaw": _joints("jaw"),
        "eyes": _joints("left_eye", "right_eye"),
        "hands": list(range(25, 55)),
    }
)
"""Joints whose limits are alike; the pelvis has none, as a person may face anywhere."""
SIDES: Final = tuple(
    _joints(
        *(
            f"{side}_{name}"
            for name in ("shoulder", "elbow", "wrist", "index", "middle", "pinky", "ring", "thumb")
        )
    )
    for side in ("left", "right")
)
"""Each arm with its hand."""
STILL: Final = 1e-6
"""Radians a frame: no tracked joint is this still."""

Floats = NDArray[np.floating[Any]]


def posture_statistics(poses: Floats, turns: Floats, speed: Floats) -> dict[str, Any]:
    """Numbers of axis-angle poses (n, 165), their angles (n, 55) and joint speeds (n - 1, 55) in
    rad/s.

    Returns:
        `angle_*`, the largest turn (0 to pi) of each group of joints; `tilt`, the median angle
        between the body's own up and the world's; `frozen_limb_seconds`, the longest that one arm
        stood still to the last bit while the other moved.

    """
    angles = (turns if turns.max() <= np.pi else _shorter(turns)).max(axis=0)
    left, right = (np.all(speed[:, joints] < STILL * FPS, axis=-1) for joints in SIDES)
    return {
        **{f"angle_{group}": float(angles[joints].max()) for group, joints in GROUPS.items()},
        "tilt": _tilt(poses[:, :3], turns[:, 0]),
        "frozen_limb_seconds": max(longest_run(left & ~right), longest_run(right & ~left)) / FPS,
    }


def longest_run(flags: NDArray[np.bool_]) -> int:
    """Length of the longest stretch of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return int((edges[1::2] - edges[::2]).max(initial=0))


def _shorter(turns: Floats) -> Floats:
    """The same rotation by its shorter way round."""
    return np.abs((turns + np.pi) % (2 * np.pi) - np.pi)


def _tilt(root: Floats, turns: Floats) -> float:
    upright = root[:, 1] / np.maximum(turns, 1e-12)
    return float(
        np.arccos(np.clip(np.median(np.cos(turns) + upright**2 * (1 - np.cos(turns))), -1, 1))
    )
