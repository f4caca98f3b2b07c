"""Confidence intervals over clips: how much a metric varies with the choice of clips."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from mambatalk.metrics.frechet import frechet_distance, gaussian_of_sums
from mambatalk.metrics.kernel import KernelSums, kernel_sums

LEVEL = 0.95
MIN_CLIPS = 5
"""With fewer clips there is no interval, and no check is passed: leaving one out of four says
little about other clips."""
RESAMPLES = 2000
NORMAL_QUANTILE = 1.959964
"""A normal distribution has 95 % of its mass within this many standard deviations of its mean."""

Array = NDArray[np.float64]
Interval = tuple[float, float]
Sums = tuple[Array, ...]
"""Count of feature rows, their sum (D,) and the sum of their outer products (D, D)."""


def mean_interval(clips: Sequence[tuple[float | None, float]], *, seed: int = 0) -> Interval | None:
    """Return the 95 % percentile bootstrap interval of a weighted mean over clips.

    Args:
        clips: Value and weight of each clip. Clips without a value or weight are ignored.
        seed: Seed for the resampling.

    Returns:
        Lower and upper bound. None with fewer than `MIN_CLIPS` clips that have a value.

    """
    known = [(value, weight) for value, weight in clips if value is not None and weight > 0]
    if len(known) < MIN_CLIPS:
        return None
    values, weights = np.array(known).T
    # The percentile method, since BCa (the default) is undefined where all clips have one value.
    result = stats.bootstrap(
        (values, weights),
        _weighted_mean,
        paired=True,
        n_resamples=RESAMPLES,
        confidence_level=LEVEL,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    low, high = result.confidence_interval
    return float(low), float(high)


def _weighted_mean(values: Array, weights: Array, axis: int) -> Array:
    return (values * weights).sum(axis) / weights.sum(axis)


def fgd_interval(generated: Sequence[Tensor], truth: Sequence[Tensor]) -> Interval | None:
    """Return the 95 % jackknife interval of FGD over clips.

    The jackknife leaves out one clip at a time. A bootstrap repeats clips, which lowers the rank of
    the covariances and so raises FGD.

    Args:
        generated: FGD features (m, D) of each generated clip.
        truth: The same of the recordings, in the same order.

    Returns:
        Lower bound (at least 0) and upper bound. None with fewer than `MIN_CLIPS` clips.

    """
    if len(generated) < MIN_CLIPS:
        return None
    totals = [_total([_sums(features) for features in side]) for side in (generated, truth)]
    low, high = _jackknife_interval(_distance(totals), fgd_without_each(generated, truth))
    return max(low, 0.0), high


def kernel_interval(generated: Sequence[Tensor], truth: Sequence[Tensor]) -> Interval | None:
    """Return the 95 % jackknife interval of the kernel distance over clips.

    As `fgd_interval`: a clip that a bootstrap repeats would be compared with itself, which raises
    the distance. The lower bound may be negative, as the estimate may.
    """
    if len(generated) < MIN_CLIPS:
        return None
    sums = kernel_sums(generated, truth)
    return _jackknife_interval(sums.distance(), _kernel_distance_without_each(sums))


def fgd_without_each(generated: Sequence[Tensor], truth: Sequence[Tensor]) -> Array:
    """Return FGD without each of c clips (c,); arguments as in `fgd_interval`."""
    sides = [[_sums(features) for features in side] for side in (generated, truth)]
    totals = [_total(side) for side in sides]
    return np.array([_distance_without(k, totals, sides) for k in range(len(generated))])


def kernel_distance_without_each(generated: Sequence[Tensor], truth: Sequence[Tensor]) -> Array:
    """Return the kernel distance without each of c clips (c,), as `fgd_without_each`."""
    return _kernel_distance_without_each(kernel_sums(generated, truth))


def jackknife_error(left_out: Array) -> float:
    """Return the standard error of a number, from its values without each of c clips (c,)."""
    clips = len(left_out)
    variance = (clips - 1) / clips * np.square(left_out - left_out.mean()).sum()
    return float(np.sqrt(variance))


def _kernel_distance_without_each(sums: KernelSums) -> Array:
    return np.array([sums.without(k).distance() for k in range(len(sums.truth_rows))])


def _jackknife_interval(centre: float, left_out: Array) -> Interval:
    error = jackknife_error(left_out)
    return centre - NORMAL_QUANTILE * error, centre + NORMAL_QUANTILE * error


def _sums(features: Tensor) -> Sums:
    rows = features.double().cpu().numpy()
    return np.array(len(rows), np.float64), rows.sum(0), rows.T @ rows


def _total(side: Sequence[Sums]) -> Sums:
    return tuple(sum(parts) for parts in zip(*side, strict=True))


def _distance_without(clip: int, totals: Sequence[Sums], sides: Sequence[Sequence[Sums]]) -> float:
    rest = [
        tuple(whole - part for whole, part in zip(total, side[clip], strict=True))
        for total, side in zip(totals, sides, strict=True)
    ]
    return _distance(rest)


def _distance(sums: Sequence[Sums]) -> float:
    generated, truth = (gaussian_of_sums(*side) for side in sums)
    return frechet_distance(generated, truth)
