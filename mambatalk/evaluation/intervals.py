"""Confidence intervals over clips: how far a number would move with other clips of the same
kind.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mambatalk.metrics.frechet import frechet_distance, gaussian_of_sums

LEVEL = 0.95
RESAMPLES = 2000
_NORMAL = 1.959964
"""Standard errors on either side that hold 95 % of a normal distribution."""

Interval = tuple[float, float]


def mean_interval(clips: Sequence[tuple[float | None, float]], *, seed: int = 0) -> Interval | None:
    """95 % percentile bootstrap over clips, each a value and its weight, of the weighted mean.

    None with fewer than two clips that have a value.
    """
    known = [(value, weight) for value, weight in clips if value is not None and weight > 0]
    if len(known) < 2:
        return None
    value, weight = np.array(known).T
    picks = np.random.default_rng(seed).integers(len(value), size=(RESAMPLES, len(value)))
    means = (value * weight)[picks].sum(1) / weight[picks].sum(1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def fgd_interval(generated: Sequence[Tensor], truth: Sequence[Tensor]) -> Interval | None:
    """95 % jackknife interval of FGD over clips, from the features (m, D) of each clip on either
    side.

    Leave-one-out, because resampling with repeated clips lowers the rank of the covariances and so
    inflates FGD. The lower end is cut at 0. None with fewer than three clips.
    """
    clips = len(generated)
    if clips < 3:
        return None
    sides = [[_sums(features) for features in side] for side in (generated, truth)]
    totals = [_total(side) for side in sides]
    left_out = np.array(
        [
            _distance([_minus(total, side[k]) for total, side in zip(totals, sides, strict=True)])
            for k in range(clips)
        ]
    )
    error = np.sqrt((clips - 1) / clips * np.square(left_out - left_out.mean()).sum())
    centre = _distance(totals)
    return max(centre - _NORMAL * error, 0.0), centre + _NORMAL * error


Sums = tuple[NDArray[np.float64], ...]


def _sums(features: Tensor) -> Sums:
    rows = features.double().cpu().numpy()
    return np.array(len(rows), np.float64), rows.sum(0), rows.T @ rows


def _total(side: Sequence[Sums]) -> Sums:
    return tuple(sum(parts) for parts in zip(*side, strict=True))


def _minus(total: Sums, clip: Sums) -> Sums:
    return tuple(a - b for a, b in zip(total, clip, strict=True))


def _distance(sums: Sequence[Sums]) -> float:
    return frechet_distance(*(gaussian_of_sums(*side) for side in sums))
