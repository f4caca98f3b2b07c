"""Statistics of the order of frames: cuts, shuffled frames and frames without data."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mambatalk.motion.skeleton import FPS

Floats = NDArray[np.floating[Any]]

ORDER_FRAMES: Final = 2 * FPS
"""Length of the intervals in which the order of frames is judged."""
SLOW: Final = 5.0
"""Sum of all joint speeds, rad/s, below which a change of speed is no cut."""
STILL: Final = 3.0
"""Sum of all changes in an interval, rad, below which it has no order: while a speaker of the
sample stands still, single joints that tremble have 1.45. In the two real clips it is about 100.
"""


def continuity_statistics(poses: Floats, expressions: Floats, speed: Floats) -> dict[str, Any]:
    """Return statistics of the order of frames.

    Args:
        poses: Axis-angle rotations (n, 165) in radians, finite.
        expressions: Expression coefficients (n, 100), finite.
        speed: Joint speeds (n - 1, 55) in rad/s.

    Returns:
        `cut`, how many times faster all joints together move in one frame than in the two frames
        to either side; `order`, the distance over two frames relative to the distance over one, in
        the two seconds where it is smallest (2 for smooth motion, 1 for shuffled frames);
        `blank_frames`, frames in which all joints are at rest exactly; `blank_face_frames`, frames
        in which all expressions are zero. Both are 0 if that holds for all frames. `cut_when`,
        `order_when`, `blank_when` and `blank_face_when` say when, such as "3.0 to 4.5 s".

    """
    cuts = cut_strength(speed.sum(axis=1, dtype=np.float64))
    order = order_by_interval(poses)
    blank = blank_frames(poses[:, 3:])
    blank_face = blank_frames(expressions)
    unordered = int(order.argmin()) * ORDER_FRAMES // 2 if len(order) else 0
    return {
        "cut": float(cuts.max(initial=0)),
        "cut_when": f"{cuts.argmax() / FPS:.2f} s" if len(cuts) else None,
        "order": float(order.min(initial=2)),
        "order_when": f"{unordered / FPS:.1f} to {(unordered + ORDER_FRAMES) / FPS:.1f} s",
        "blank_frames": int(blank.sum()),
        "blank_when": _span(blank),
        "blank_face_frames": int(blank_face.sum()),
        "blank_face_when": _span(blank_face),
    }


def cut_strength(total_speed: Floats) -> Floats:
    """Return how much faster each step (n - 1,) is than the two steps to either side.

    Args:
        total_speed: Sum of the speeds of all joints at each step (n - 1,), rad/s.

    """
    padded = np.pad(total_speed, 2, mode="edge")
    count = len(total_speed)
    around = np.max([padded[k : k + count] for k in (0, 1, 3, 4)], axis=0, initial=SLOW)
    return total_speed / around


def order_by_interval(poses: Floats) -> Floats:
    """Return the distance over two frames relative to that over one, for each interval.

    Args:
        poses: Axis-angle rotations (n, 165) in radians.

    Returns:
        One value for each interval of `ORDER_FRAMES` frames; intervals overlap by half, and those
        in which nothing moves have 2.

    """
    one = np.abs(np.diff(poses, axis=0)).sum(axis=1, dtype=np.float64)[:-1]
    two = np.abs(poses[2:] - poses[:-2]).sum(axis=1, dtype=np.float64)
    starts = np.arange(0, max(1, len(one) - ORDER_FRAMES + 1), ORDER_FRAMES // 2)
    sums_one, sums_two = (np.concatenate([[0.0], np.cumsum(values)]) for values in (one, two))
    ends = np.minimum(starts + ORDER_FRAMES, len(one))
    distance_one = sums_one[ends] - sums_one[starts]
    distance_two = sums_two[ends] - sums_two[starts]
    still = distance_one < STILL
    return np.where(still, 2.0, distance_two / np.where(still, 1, distance_one))


def blank_frames(values: Floats) -> NDArray[np.bool_]:
    """Return whether all values of a frame are zero, for each frame; False if all frames are."""
    blank: NDArray[np.bool_] = np.logical_not(np.any(values, axis=1))
    return np.zeros_like(blank) if blank.all() else blank


def _span(flags: NDArray[np.bool_]) -> str | None:
    """Return the time from the first to the last True, or None if there is none."""
    frames = np.flatnonzero(flags)
    return f"{frames[0] / FPS:.1f} to {(frames[-1] + 1) / FPS:.1f} s" if len(frames) else None
