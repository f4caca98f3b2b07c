"""Differences between two methods over the same clips, with paired jackknife intervals.

Each clip is left out for both methods at once, so that a clip that is hard for both does not widen
the interval of their difference. Student's t accounts for the number of clips: with five, an
interval is 1.4 times as wide as with very many. No clip is drawn twice, as in a bootstrap, which
would inflate FGD.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from mambatalk.evaluation.intervals import jackknife_error
from mambatalk.evaluation.score import Evaluation
from mambatalk.metrics.catalogue import CATALOGUE, GROUND_TRUTH, KID
from mambatalk.metrics.frechet import frechet_distance, gaussian_of_sums
from mambatalk.metrics.kernel import kernel_sums

Array = NDArray[np.float64]
Measure = Callable[[Array], Array]
"""A metric of one method, from the weights of the clips (..., clips): 1 for a clip that counts, 0
for one that is left out."""
NO_GAIN_BELOW_TRUTH = frozenset({"foot_skating"})
"""Metrics that count only above the value of ground truth: a body that hardly moves has less
skating than a recorded one, and is not better for it."""
RATIOS = frozenset({"fgd", "mse", "lvd"})
"""Metrics of which a ratio is compared. They are positive and 0 for ground truth, so that a clip
that is hard for all methods multiplies them; with few clips, FGD of all methods is inflated."""
SPLITS = 50
"""Random halves of the clips whose distances are averaged."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A metric of two methods, and how much worse the first is, in raw units."""

    key: str
    first: float
    second: float
    truth: float | None
    """Value of ground truth for metrics that are compared with it; else None."""
    worse: float
    """How much worse the first is; negative where it is better."""
    low: float
    high: float
    """Bounds of the interval of `worse`."""


def _excess(values: Array) -> Array:
    return np.maximum(values, 0.0)


def distance_features(evaluation: Evaluation, row: str) -> list[Tensor]:
    """Return the corrected FGD features (m, D) of each clip; none for a clip that is too short."""
    dimension = evaluation.fgd_dim or 0
    empty = Tensor(0, dimension)
    return [clip.get("corrected", empty) for clip in evaluation.features[row]]


def measure(evaluation: Evaluation, row: str, key: str) -> Measure:
    """Return a metric of one method as a function of the clips that count."""
    if key == "fgd":
        return _fgd(distance_features(evaluation, row), distance_features(evaluation, GROUND_TRUTH))
    if key == KID.key:
        return _kid(distance_features(evaluation, row), distance_features(evaluation, GROUND_TRUTH))
    scores = [clip[key]["corrected"] for clip in evaluation.scores[row]]
    values = np.array([0.0 if value is None else value for value, _ in scores])
    weights = np.array([0.0 if value is None else weight for value, weight in scores])

    def mean(counts: Array) -> Array:
        with np.errstate(invalid="ignore"):
            return np.asarray((counts * weights * values).sum(-1) / (counts * weights).sum(-1))

    return mean


def difference(
    evaluation: Evaluation, key: str, first: str, second: str, *, level: float
) -> Difference | None:
    """Compare two methods in one metric.

    Args:
        evaluation: Scores of both methods on the same clips.
        key: Key of the metric.
        first: Method that may be worse.
        second: Method that it is compared with.
        level: Level of the interval, 0 to 1.

    Returns:
        The difference; None where the metric is undefined for one of them, or without one of the
        clips.

    """
    clips = evaluation.clips
    measures = [measure(evaluation, row, key) for row in (first, second)]
    nearer = CATALOGUE[key].better == "nearer to ground truth"
    with_truth = nearer or key in NO_GAIN_BELOW_TRUTH
    truth = measure(evaluation, GROUND_TRUTH, key) if with_truth else None

    def losses(weights: Array) -> tuple[Array, Array]:
        one, other = (of_row(weights) for of_row in measures)
        if truth is not None:
            expected = truth(weights)
            distance = np.abs if nearer else _excess
            return distance(one - expected), distance(other - expected)
        return (one, other) if CATALOGUE[key].better != "higher" else (-one, -other)

    # All clips, and all but each of them.
    weights = np.vstack([np.ones(clips), 1 - np.eye(clips)])
    one, other = losses(weights)
    is_ratio = key in RATIOS and bool(((one > 0) & (other > 0)).all())
    worse = np.log(one / other) if is_ratio else one - other
    if clips < 2 or not np.isfinite(worse).all():
        return None
    half = jackknife_error(worse[1:]) * float(stats.t.ppf((1 + level) / 2, clips - 1))
    bounds = worse[0] + np.array([-half, half])
    low, high = other[0] * np.expm1(bounds) if is_ratio else bounds
    return Difference(
        key=key,
        first=float(measures[0](weights[0])),
        second=float(measures[1](weights[0])),
        truth=None if truth is None else float(truth(weights[0])),
        worse=float(one[0] - other[0]),
        low=float(low),
        high=float(high),
    )


def noise_floor(
    evaluation: Evaluation, key: str, parts: Sequence[int], *, seed: int = 0
) -> float | None:
    """Return the mean distance between random halves of the recorded clips; None below four.

    This distance cannot distinguish recordings from a model that is nearer to them than their
    halves are to each other. Halves have fewer rows than models, which inflates their FGD.

    Args:
        evaluation: Scores, in which each part of a clip is a clip of its own.
        key: Key of the distance.
        parts: Number of parts of each clip. Halves have whole clips.
        seed: Seed of the halves.

    """
    of_parts = iter(distance_features(evaluation, GROUND_TRUTH))
    features = [torch.cat(list(itertools.islice(of_parts, count))) for count in parts]
    if len(features) < 4:
        return None
    random = np.random.default_rng(seed)
    distances = []
    for _ in range(SPLITS):
        order = random.permutation(len(features))
        half = len(features) // 2
        first, second = (
            [features[k] for k in part] for part in (order[:half], order[half : 2 * half])
        )
        of_halves = _fgd(first, second) if key == "fgd" else _kid(first, second)
        distances.append(float(of_halves(np.ones(half))))
    return float(np.mean(distances))


def _fgd(generated: Sequence[Tensor], truth: Sequence[Tensor]) -> Measure:
    sides = [_clip_sums(generated), _clip_sums(truth)]

    def distance(counts: Array) -> Array:
        gaussians = []
        for side in sides:
            rows, totals, products = (np.tensordot(counts, sums, 1) for sums in side)
            gaussians.append(gaussian_of_sums(rows, totals, products))
        return np.array(frechet_distance(gaussians[0], gaussians[1]))

    return lambda counts: np.apply_along_axis(distance, -1, counts)


def _clip_sums(clips: Sequence[Tensor]) -> tuple[Array, Array, Array]:
    """Return by clip the number of rows (clips,), their sums (clips, D) and products (clips, D, D).

    Args:
        clips: Features (m, D) of each clip.

    """
    rows = [features.double().cpu().numpy() for features in clips]
    return (
        np.array([len(clip) for clip in rows], np.float64),
        np.stack([clip.sum(0) for clip in rows]),
        np.stack([clip.T @ clip for clip in rows]),
    )


def _kid(generated: Sequence[Tensor], truth: Sequence[Tensor]) -> Measure:
    sums = kernel_sums(generated, truth)

    def mean_over_pairs(counts: Array, of_pairs: Array, rows: Array) -> Array:
        # Without the pairs of a row with itself, which the sums leave out as well.
        pairs = np.outer(rows, rows) - np.diag(rows)
        return np.asarray(_quadratic(counts, of_pairs) / _quadratic(counts, pairs))

    def distance(counts: Array) -> Array:
        mixed = _quadratic(counts, sums.mixed)
        mixed_pairs = (counts @ sums.generated_rows) * (counts @ sums.truth_rows)
        return np.asarray(
            mean_over_pairs(counts, sums.generated, sums.generated_rows)
            + mean_over_pairs(counts, sums.truth, sums.truth_rows)
            - 2 * mixed / mixed_pairs
        )

    return distance


def _quadratic(counts: Array, matrix: Array) -> Array:
    return np.asarray(np.einsum("...i,ij,...j->...", counts, matrix, counts))
