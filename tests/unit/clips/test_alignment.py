"""Lags between curves are estimated if they correlate clearly, and None otherwise."""

import numpy as np
import pytest
from numpy.typing import NDArray

from mambatalk.clips.alignment import (
    estimate_lag,
    lag_statistics,
    loudness_by_frame,
    words_by_frame,
)
from mambatalk.clips.noise import bounded
from mambatalk.clips.statistics import joint_speed
from mambatalk.corpus.textgrid import Interval

FPS = 30


def bursts(seed: int, frames: int = 900) -> NDArray[np.float64]:
    """Return a curve like speech: random bursts of a third of a second."""
    random = np.random.default_rng(seed)
    return np.convolve(random.random(frames) < 0.06, np.hanning(10), "same") + 0.05 * random.random(
        frames
    )


@pytest.mark.parametrize("late", [-60, -7, 0, 7, 60])
def test_the_lag_of_a_shifted_curve_is_found(late: int) -> None:
    curve = bursts(0, 1100)
    assert estimate_lag(curve[100:-100], curve[100 - late : 1000 - late]) == pytest.approx(
        late / FPS, abs=1e-9
    )


def test_unrelated_curves_have_no_lag() -> None:
    lags = [estimate_lag(bursts(seed), bursts(seed + 5000)) for seed in range(300)]
    assert sum(one is not None for one in lags) <= 2


def test_constant_offsets_do_not_correlate_at_the_ends() -> None:
    assert estimate_lag(100 + bursts(1), 50 + bursts(2)) is None


@pytest.mark.parametrize("curve", [np.zeros(900), np.full(900, 7.0), bursts(0)[:100], np.zeros(0)])
def test_flat_and_short_curves_have_no_lag(curve: NDArray[np.float64]) -> None:
    assert estimate_lag(curve, bursts(0)) is None


def test_loudness_and_words_are_sampled_by_frame() -> None:
    wave = np.zeros(16_000, np.float32)
    wave[8_000:] = 0.1
    loud = loudness_by_frame(wave)
    assert len(loud) == FPS
    assert loud[:15] == pytest.approx(-60)
    assert loud[15:] == pytest.approx(-20, abs=0.01)
    words = [Interval(-1, 0.1, "early"), Interval(0.1, 0.5, ""), Interval(0.5, 9, "late")]
    np.testing.assert_array_equal(words_by_frame(words, FPS), [1] * 3 + [0] * 12 + [1] * 15)


def test_missing_words_and_nan_give_no_lag() -> None:
    speed = joint_speed(bounded(np.full((300, 165), np.nan, np.float32)))
    expressions = bounded(np.full((300, 100), np.nan, np.float32))
    assert lag_statistics(speed, expressions, None, np.zeros(160_000, np.float32)) == {
        "mouth_lag": None,
        "stroke_lag": None,
        "word_lag": None,
        "pace": None,
        "clock": None,
        "clock_fits": None,
        "backwards": 0.0,
    }
