"""By how much one curve is late against another: told where it is clear, and not where it is
not.
"""

import numpy as np
import pytest

from mambatalk.clips.alignment import (
    estimate_lag,
    lag_statistics,
    loudness_by_frame,
    words_by_frame,
)
from mambatalk.corpus.textgrid import Interval

FPS = 30


def bursts(seed, frames=900):
    """What speech is like: now and then something, for about a third of a second."""
    random = np.random.default_rng(seed)
    return np.convolve(random.random(frames) < 0.06, np.hanning(10), "same") + 0.05 * random.random(
        frames
    )


@pytest.mark.parametrize("late", [-60, -7, 0, 7, 60])
def test_a_shifted_curve_tells_its_lag(late):
    curve = bursts(0, 1100)
    assert estimate_lag(curve[100:-100], curve[100 - late : 1000 - late]) == pytest.approx(
        late / FPS, abs=1e-9
    )


def test_curves_that_have_nothing_in_common_tell_none():
    told = [estimate_lag(bursts(seed), bursts(seed + 5000)) for seed in range(300)]
    assert sum(one is not None for one in told) <= 2


def test_the_ends_are_no_event_that_all_curves_share():
    assert estimate_lag(100 + bursts(1), 50 + bursts(2)) is None


@pytest.mark.parametrize("curve", [np.zeros(900), np.full(900, 7.0), bursts(0)[:100], np.zeros(0)])
def test_flat_and_short_curves_tell_none(curve):
    assert estimate_lag(curve, bursts(0)) is None


def test_sound_and_words_by_frame():
    wave = np.zeros(16_000, np.float32)
    wave[8_000:] = 0.1
    loud = loudness_by_frame(wave)
    assert len(loud) == FPS
    assert loud[:15] == pytest.approx(-60)
    assert loud[15:] == pytest.approx(-20, abs=0.01)
    words = [Interval(-1, 0.1, "early"), Interval(0.1, 0.5, ""), Interval(0.5, 9, "late")]
    np.testing.assert_array_equal(words_by_frame(words, FPS), [1] * 3 + [0] * 12 + [1] * 15)


def test_no_words_tell_no_lag_and_nan_is_no_error():
    poses = np.full((300, 165), np.nan, np.float32)
    assert lag_statistics(poses, None, np.zeros(160_000, np.float32)) == {
        "mouth_lag": None,
        "word_lag": None,
    }
