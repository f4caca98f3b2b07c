"""Statistics of the parts of the body, to find parts that froze or belong to another clip."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mambatalk.clips.posture import STILL_ANGLE, longest_span
from mambatalk.motion.skeleton import FPS, TRACKED_PARTS

STILL_FACE: Final = 1e-6
"""Change of the expression coefficients per frame below which the face counts as frozen."""
ACTIVITY_QUANTILE: Final = 0.9
"""The speed that a part exceeds in a tenth of the frames describes how much it moves; a mean would
depend on how long the speaker rests.
"""
SMOOTHING: Final = 5
"""Frames over which speeds of the face are averaged before they are compared."""
FLOORS: Final = (0.02, 0.3)
"""Speeds of jaw (rad/s) and expressions (per second) below which nothing is visible; the logarithm
of smaller ones would be noise.
"""

Floats = NDArray[np.floating[Any]]


def part_statistics(poses: Floats, expressions: Floats, speed: Floats) -> dict[str, Any]:
    """Return statistics of each part of the body.

    Args:
        poses: Axis-angle rotations (n, 165) in radians, finite.
        expressions: Expression coefficients (n, 100), finite.
        speed: Joint speeds (n - 1, 55) in rad/s.

    Returns:
        For each part `frozen_PART_seconds`, the longest time for which it did not move
        at all while another part did, `frozen_PART_when`, and `activity_PART`, the speed that it
        exceeds in a tenth of the frames. `face_agreement`, the correlation of the speeds of jaw and
        expressions; None if one of them does not move. For comparisons with other clips
        `pose_mean` (165,) and `expression_spread` (100,), the logarithm of standard deviations.

    """
    of_face = face_speed(expressions)
    joints_of = {part: list(joints) for part, joints in TRACKED_PARTS.items() if joints}
    part_speed = {part: speed[:, joints].mean(axis=-1) for part, joints in joints_of.items()}
    joint_still = speed < STILL_ANGLE * FPS
    still = {part: np.all(joint_still[:, joints], axis=-1) for part, joints in joints_of.items()}
    still["face"] = of_face < STILL_FACE * FPS
    all_still = np.all(joint_still, axis=-1) & still["face"]

    row: dict[str, Any] = {}
    for part, flags in still.items():
        first, last = longest_span(np.logical_and(flags, ~all_still))
        row[f"frozen_{part}_seconds"] = (last - first) / FPS
        row[f"frozen_{part}_when"] = describe_span(first, last)
        speeds = of_face if part == "face" else part_speed[part]
        quantile = float(np.quantile(speeds, ACTIVITY_QUANTILE)) if len(speeds) else 0.0
        row[f"activity_{part}"] = quantile
    spread = np.log(expressions.std(axis=0, dtype=np.float64) + 1e-4)
    return row | {
        "face_agreement": _agreement(part_speed["jaw"], of_face),
        "pose_mean": [round(float(value), 4) for value in poses.mean(axis=0, dtype=np.float64)],
        "expression_spread": [round(float(value), 3) for value in spread],
    }


def describe_span(first: int, last: int) -> str | None:
    """Return frames `first` to `last` (exclusive) as a time, or None if there are none."""
    return f"{first / FPS:.1f} to {last / FPS:.1f} s" if last > first else None


def face_curves(jaw: Floats, face: Floats) -> tuple[Floats, Floats]:
    """Return the curves that `face_agreement` compares: logarithms of smoothed speeds.

    Args:
        jaw: Speed of the jaw (n - 1,) in rad/s.
        face: Speed of the expressions (n - 1,), see `face_speed`.

    """
    smooth = np.full(SMOOTHING, 1 / SMOOTHING)
    return (
        np.convolve(np.log(jaw + FLOORS[0]), smooth, "valid"),
        np.convolve(np.log(face + FLOORS[1]), smooth, "valid"),
    )


def face_speed(expressions: Floats) -> Floats:
    """Return the speed (n - 1,) of all expression coefficients (n, 100) together, per second."""
    change = np.diff(expressions, axis=0)
    return np.sqrt(np.einsum("nk,nk->n", change, change)) * FPS


def _agreement(jaw: Floats, face: Floats) -> float | None:
    """Return the correlation of the curves of jaw and expressions; None if one is constant."""
    if len(jaw) < 2 * SMOOTHING:
        return None
    curves = face_curves(jaw, face)
    if min(curve.std() for curve in curves) < 1e-3:
        return None
    return float(np.corrcoef(*curves)[0, 1])
