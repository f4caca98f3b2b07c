"""Smooth curves in time, from which the motion rules compose motion."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Curve = NDArray[np.float64]


def ease(time: Any, start: float, end: float) -> Curve:
    """Rise from 0 before `start` to 1 after `end` (seconds) with minimum jerk."""
    x = np.clip((np.asarray(time, np.float64) - start) / (end - start), 0, 1)
    return x**3 * (10 - 15 * x + 6 * x**2)


def bump(time: Any, peak: float, *, rise: float, fall: float, hold: float = 0.0) -> Curve:
    """Rise from 0 to 1 at `peak` and fall back to 0; all times are in seconds.

    A larger `hold` makes the top flatter.
    """
    x = np.asarray(time, np.float64) - peak
    y = np.cos(np.pi / 2 * np.clip(np.where(x < 0, x / rise, x / fall), -1, 1)) ** 2
    return y + hold * (1 - (1 - y) ** 2 - y)


def smooth_noise(
    random: np.random.Generator, frames: int, *, fps: int, period: float, channels: int
) -> Curve:
    """Draw slow, smooth noise (frames, channels) of unit size.

    Args:
        random: Random generator.
        frames: Number of frames.
        fps: Frames per second.
        period: Time between independent values, seconds.
        channels: Number of independent curves.

    """
    knots = int(frames / fps / period) + 4
    values = random.standard_normal((knots, channels))
    position = np.arange(frames) / fps / period
    k = position.astype(int)
    x = (position - k)[:, None]
    # A uniform cubic B-spline, whose second derivative is continuous.
    a, b, c, d = (values[k + i] for i in range(4))
    return (
        (1 - x) ** 3 * a
        + (3 * x**3 - 6 * x**2 + 4) * b
        + (-3 * x**3 + 3 * x**2 + 3 * x + 1) * c
        + x**3 * d
    ) / 6
