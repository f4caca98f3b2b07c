"""Confidence intervals over clips."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from mambatalk.evaluation.intervals import Interval, fgd_interval, kernel_interval, mean_interval
from mambatalk.metrics import KernelDistance
from mambatalk.metrics.frechet import Gaussian, frechet_distance


def _mean_interval(values: np.ndarray) -> Interval:
    interval = mean_interval([(value, 1.0) for value in values])
    assert interval is not None
    return interval


def test_mean_intervals_contain_the_mean_and_narrow_with_more_clips() -> None:
    random = np.random.default_rng(0)
    widths = []
    for clips in (5, 50, 500):
        values = random.normal(1, 0.3, clips)
        low, high = _mean_interval(values)
        assert low < values.mean() < high
        widths.append(high - low)
    assert widths[0] > widths[1] > widths[2]


def test_mean_intervals_contain_the_true_mean_about_95_times_of_100() -> None:
    random = np.random.default_rng(0)
    intervals = [_mean_interval(random.normal(0, 1, 30)) for _ in range(100)]
    contained = sum(low < 0 < high for low, high in intervals)
    assert 85 <= contained <= 100


def test_equal_values_have_an_interval_of_width_zero() -> None:
    assert mean_interval([(0.5, 1.0), (0.5, 3.0)] * 3) == (0.5, 0.5)


def test_the_same_clips_give_the_same_interval() -> None:
    clips = [(float(value), 1.0) for value in range(10)]
    assert mean_interval(clips) == mean_interval(clips)


def test_a_clip_of_larger_weight_counts_more() -> None:
    low, high = mean_interval([(0.0, 1.0)] * 5 + [(1.0, 1000.0)] * 5) or (0.0, 0.0)
    assert high > 0.99
    assert low > 0.5


def test_fewer_than_five_values_have_no_interval() -> None:
    assert mean_interval([]) is None
    assert mean_interval([(1.0, 1.0), (2.0, 1.0)] * 2) is None
    assert mean_interval([(1.0, 1.0)] * 4 + [(None, 1.0)]) is None
    assert mean_interval([(1.0, 1.0)] * 4 + [(2.0, 0.0)]) is None


def _fgd_interval(clips: int) -> Interval | None:
    torch.manual_seed(0)
    generated, truth = ([scale * torch.randn(40, 4) for _ in range(clips)] for scale in (1.5, 1.0))
    return fgd_interval(generated, truth)


def test_fgd_intervals_contain_fgd_and_narrow_with_more_clips() -> None:
    few, many = _fgd_interval(5), _fgd_interval(40)
    assert few is not None
    assert many is not None
    # Four dimensions with standard deviations 1.5 and 1.
    assert many[0] < 4 * 0.25 < many[1]
    assert many[1] - many[0] < few[1] - few[0]


def _fgd(generated: Sequence[torch.Tensor], truth: Sequence[torch.Tensor]) -> float:
    rows = (torch.cat(list(side)).double().numpy() for side in (generated, truth))
    a, b = (Gaussian(side.mean(0), np.cov(side.T)) for side in rows)
    return frechet_distance(a, b)


@pytest.mark.parametrize("scale", [1.0, 1.5])
def test_fgd_intervals_equal_the_jackknife_over_clips(scale: float) -> None:
    """With equal distributions the lower bound is cut at 0."""
    torch.manual_seed(0)
    generated = [scale * torch.randn(15 + k, 3) for k in range(5)]
    truth = [torch.randn(15 + k, 3) for k in range(5)]
    left_out = np.array(
        [_fgd(generated[:k] + generated[k + 1 :], truth[:k] + truth[k + 1 :]) for k in range(5)]
    )
    error = 1.959964 * np.sqrt(4 / 5 * np.square(left_out - left_out.mean()).sum())
    centre = _fgd(generated, truth)
    interval = fgd_interval(generated, truth)
    assert interval == pytest.approx((max(centre - error, 0.0), centre + error), rel=1e-6)
    if scale == 1.0:
        assert centre < error


def test_kernel_intervals_equal_the_jackknife_over_clips() -> None:
    torch.manual_seed(0)
    generated = [1.5 * torch.randn(15 + k, 3) for k in range(5)]
    truth = [torch.randn(15 + k, 3) for k in range(5)]

    def distance(kept: Sequence[int]) -> float:
        metric = KernelDistance(3)
        for k in kept:
            metric.update(generated[k], truth=False)
            metric.update(truth[k], truth=True)
        return float(metric.compute())

    left_out = np.array([distance([k for k in range(5) if k != out]) for out in range(5)])
    error = 1.959964 * np.sqrt(4 / 5 * np.square(left_out - left_out.mean()).sum())
    centre = distance(range(5))
    assert kernel_interval(generated, truth) == pytest.approx((centre - error, centre + error))
    assert kernel_interval(generated[:2], truth[:2]) is None


def test_fewer_than_five_clips_have_no_fgd_interval() -> None:
    assert _fgd_interval(4) is None
    assert _fgd_interval(5) is not None
