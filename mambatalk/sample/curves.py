"""Smooth curves in time, from which the sample's law composes motion."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Curve = NDArray[np.float64]


def ease(time: Any, start: float, end: float) -> Curve:
    """0 before `start`, 1 after `end`, minimum-jerk between; seconds."""
    x = np.clip((np.asarray(time, np.float64) - start) / (end - start), 0, 1)
    return x**3 * (10 - 15 * x + 6 * x**2)


def bump(time: Any, peak: float, *, rise: float, fall: float, hold: float = 0.0) -> Curve:
    """0, up to 1 at `peak` (seconds), and back to 0; the larger `hold`, the flatter the top."""
    x = np.asarray(time, np.float64) - peak
    y = np.cos(np.pi / 2 * np.clip(np.where(x < 0, x / rise, x / fall), -1, 1)) ** 2
    return y + hold * (1 - (1 - y) ** 2 - y)


def drift(
    random: np.random.Generator, frames: int, *, fps: int, period: float, channels: int
) -> Curve:
    """Slow smooth noise (frames, channels) of unit size that changes about every `period`
    seconds.
    """
    knots = int(frames / fps / period) + 4
    values = random.standard_normal((knots, channels))
    place = np.arange(frames) / fps / period
    k = place.astype(int)
    x = (place - k)[:, None]
    a, b, c, d = (
        values[k + i] for i in range(4)
    )  # A uniform cubic B-spline: smooth to the second derivative.
    return (
        (1 - x) ** 3 * a
        + (3 * x**3 - 6 * x**2 + 4) * b
        + (-3 * x**3 + 3 * x**2 + 3 * x + 1) * c
        + x**3 * d
    ) / 6
