"""Intervals of differences: paired over clips, honest with few, in the direction of the metric."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from mambatalk.evaluation.intervals import fgd_without_each, kernel_distance_without_each
from mambatalk.evaluation.score import Evaluation
from mambatalk.models.fgd.network import FGDEncoder
from tasks.gate.differences import difference, measure, noise_floor
from tests.helpers.stand_in_body import stand_in_body

CLIPS = 12
DIMENSION = 20


def evaluation_of(
    scores: dict[str, dict[str, list[float]]], features: dict[str, list[Tensor]] | None = None
) -> Evaluation:
    """Return an evaluation with given scores by row, metric and clip, and given FGD features."""
    evaluation = Evaluation(
        body=stand_in_body(), mean_velocity=None, fgd_encoder=FGDEncoder(DIMENSION), fidelity=None
    )
    lengths = [len(values) for metrics in scores.values() for values in metrics.values()]
    clips = max(lengths, default=CLIPS)
    evaluation.clips = clips
    for row, metrics in scores.items():
        evaluation.scores[row] = [
            {key: {"corrected": (values[k], 30.0)} for key, values in metrics.items()}
            for k in range(clips)
        ]
    for row, of_clips in (features or {}).items():
        evaluation.features[row] = [{"corrected": clip} for clip in of_clips]
    return evaluation


def compare(evaluation: Evaluation, key: str) -> Any:
    found = difference(evaluation, key, "challenger", "champion", level=0.95)
    assert found is not None
    return found


@pytest.fixture
def hard() -> np.ndarray:
    """How hard each clip is: far more different than two models are."""
    return np.random.default_rng(0).uniform(1, 100, CLIPS)


def test_a_small_gain_in_every_clip_is_found_among_different_clips(hard: np.ndarray) -> None:
    gains = np.random.default_rng(1).uniform(0.93, 0.97, CLIPS)
    scores = {
        "challenger": {"mse": list(gains * hard)},
        "champion": {"mse": list(hard)},
    }
    found = compare(evaluation_of(scores), "mse")
    assert found.worse == pytest.approx(((gains - 1) * hard).mean())
    assert found.low < found.worse < found.high < 0


def test_a_gain_in_half_of_the_clips_is_not_shown(hard: np.ndarray) -> None:
    sign = np.where(np.arange(CLIPS) % 2, 1, -1)
    scores = {"challenger": {"mse": list(50 + sign)}, "champion": {"mse": [50.0] * CLIPS}}
    found = compare(evaluation_of(scores), "mse")
    assert found.low < 0 < found.high


@pytest.mark.parametrize("clips", [2, 5, 12])
def test_the_interval_of_a_mean_is_that_of_the_paired_t_test(clips: int) -> None:
    one, other = np.random.default_rng(2).normal(1, 0.2, (2, clips))
    scores = {"challenger": {"foot_skating": list(one)}, "champion": {"foot_skating": list(other)}}
    found = compare(
        evaluation_of({**scores, "ground_truth": {"foot_skating": [0.0] * clips}}), "foot_skating"
    )
    expected = stats.ttest_rel(one, other).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("key", ["mse", "foot_skating"])
def test_equal_models_seldom_differ_on_five_clips(key: str) -> None:
    random = np.random.default_rng(3)
    runs = 400
    gains = 0
    for _ in range(runs):
        hard = random.uniform(1, 3, 5)
        one, other = hard * random.lognormal(0, 0.2, (2, 5))
        scores = {"challenger": {key: list(one)}, "champion": {key: list(other)}}
        scores["ground_truth"] = {key: [0.0] * 5}
        gains += compare(evaluation_of(scores), key).high < 0
    # 2.5 %, and three standard deviations of what 400 runs find.
    assert gains / runs < 0.025 + 3 * np.sqrt(0.025 * 0.975 / runs)


def test_some_metrics_are_better_near_ground_truth() -> None:
    scores = {
        "challenger": {"bc": [0.5] * CLIPS},
        "champion": {"bc": [0.9] * CLIPS},
        "ground_truth": {"bc": [0.6] * CLIPS},
    }
    found = compare(evaluation_of(scores), "bc")
    assert found.worse == pytest.approx(0.1 - 0.3)
    assert found.truth == pytest.approx(0.6)


def test_less_skating_than_recorded_is_not_a_gain() -> None:
    scores = {
        "challenger": {"foot_skating": [0.1] * CLIPS},
        "champion": {"foot_skating": [0.0] * CLIPS},
        "ground_truth": {"foot_skating": [0.2] * CLIPS},
    }
    assert compare(evaluation_of(scores), "foot_skating").worse == 0
    scores["challenger"]["foot_skating"] = [0.5] * CLIPS
    assert compare(evaluation_of(scores), "foot_skating").low == pytest.approx(0.3)


def test_a_metric_without_values_has_no_difference() -> None:
    scores = {"challenger": {"mse": [float("nan")] * CLIPS}, "champion": {"mse": [1.0] * CLIPS}}
    evaluation = evaluation_of(scores)
    assert difference(evaluation, "mse", "challenger", "champion", level=0.95) is None


def features(shift: float, seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(24, DIMENSION, generator=generator) + shift for _ in range(CLIPS)]


@pytest.mark.parametrize("key", ["fgd", "kid"])
def test_distances_find_the_nearer_model(key: str) -> None:
    rows = {
        "ground_truth": features(0.0, 0),
        "challenger": features(0.1, 1),
        "champion": features(0.8, 2),
    }
    found = compare(evaluation_of({}, rows), key)
    assert found.first < found.second
    assert found.low < found.worse < found.high < 0


@pytest.mark.parametrize("key", ["fgd", "kid"])
def test_two_models_of_one_distribution_are_not_told_apart(key: str) -> None:
    rows = {
        "ground_truth": features(0.0, 0),
        "challenger": features(0.3, 1),
        "champion": features(0.3, 2),
    }
    found = compare(evaluation_of({}, rows), key)
    assert found.low < 0 < found.high


@pytest.mark.parametrize(
    ("key", "without_each"),
    [("fgd", fgd_without_each), ("kid", kernel_distance_without_each)],
)
def test_leaving_out_a_clip_is_the_evaluators_own_distance(key: str, without_each: Any) -> None:
    rows = {"ground_truth": features(0.0, 0), "challenger": features(0.5, 1)}
    of_counts = measure(evaluation_of({}, rows), "challenger", key)
    counts = 1 - np.eye(CLIPS)
    expected = without_each(rows["challenger"], rows["ground_truth"])
    np.testing.assert_allclose(of_counts(counts), expected, rtol=1e-9)


def test_the_noise_floor_of_one_distribution_is_small() -> None:
    rows = {"ground_truth": features(0.0, 0), "champion": features(0.8, 1)}
    evaluation = evaluation_of({}, rows)
    everything = np.ones(CLIPS)
    for key in ("fgd", "kid"):
        floor = noise_floor(evaluation, key, [1] * CLIPS)
        assert floor is not None
        assert floor < 0.5 * float(measure(evaluation, "champion", key)(everything))


@pytest.mark.parametrize("key", ["fgd", "kid"])
def test_the_noise_floor_compares_whole_clips(key: str) -> None:
    # Four clips of three parts each, which are alike, and unlike the other clips.
    parts = [part + clip for clip in range(4) for part in features(0.0, clip)[:3]]
    whole = [torch.cat(parts[k : k + 3]) for k in range(0, 12, 3)]
    cut = noise_floor(evaluation_of({}, {"ground_truth": parts}), key, [3] * 4)
    assert cut == pytest.approx(
        noise_floor(evaluation_of({}, {"ground_truth": whole}), key, [1] * 4)
    )
