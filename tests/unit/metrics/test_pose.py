"""L1 diversity, face MSE, LVD and SRGR: the statements of their docstrings."""

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torchmetrics import Metric

from mambatalk.metrics import LVD, SRGR, FaceMSE, L1Diversity
from mambatalk.metrics.srgr import semantic_weights

BOTH = ("published", "corrected")


def _points(seed: int, frames: int = 40, count: int = 55) -> torch.Tensor:
    return torch.randn(frames, count, 3, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("variant", BOTH)
def test_diversity_is_zero_without_motion_and_scales_with_it(variant: str) -> None:
    still = torch.ones(40, 55, 3)
    moving = _points(0)
    assert float(L1Diversity(variant=variant)(still)) == 0
    value = float(L1Diversity(variant=variant)(moving))
    assert float(L1Diversity(variant=variant)(3 * moving)) == pytest.approx(3 * value, rel=1e-5)
    assert float(L1Diversity(variant=variant)(moving + 5)) == pytest.approx(value, rel=1e-4)


def test_diversity_of_a_known_path() -> None:
    path = torch.zeros(4, 55, 3)
    path[:, 7, 0] = torch.tensor([0.0, 2.0, 0.0, 2.0])
    assert float(L1Diversity()(path)) == 1.0


def test_diversity_uses_each_clips_own_mean_and_can_be_reset() -> None:
    metric = L1Diversity(variant="published")
    metric.update(torch.zeros(10, 55, 3))
    metric.update(torch.ones(30, 55, 3))
    assert float(metric.compute()) == 0
    metric.update(_points(0))
    metric.reset()
    metric.update(_points(1))
    assert float(metric.compute()) == float(L1Diversity()(_points(1)))


@pytest.mark.parametrize("variant", BOTH)
def test_face_errors_of_equal_faces_are_zero(variant: str) -> None:
    face = _points(0, count=9)
    assert float(FaceMSE(variant=variant)(face, face, still=5)) == 0
    assert float(LVD(variant=variant)(face, face, still=5)) == 0


def test_a_constant_offset_changes_published_lvd_alone() -> None:
    face = _points(0, count=9)
    assert float(LVD()(face + 0.01, face)) == pytest.approx(0, abs=1e-7)
    assert float(LVD(variant="published")(face + 0.01, face)) == pytest.approx(0.01, rel=1e-4)


def test_corrected_lvd_is_the_difference_of_velocities() -> None:
    truth = torch.zeros(5, 1, 3)
    moving = torch.arange(5.0)[:, None, None] * torch.tensor([0.02, 0.0, -0.01])
    assert float(LVD()(moving, truth)) == pytest.approx(0.01, rel=1e-6)


def test_published_lvd_ignores_the_first_frame() -> None:
    truth = _points(0, count=9)
    predicted = truth.clone()
    predicted[0] += 1
    assert float(LVD(variant="published")(predicted, truth)) == 0
    assert float(LVD()(predicted, truth)) > 0


@pytest.mark.parametrize(("variant", "weights"), [("published", (3, 11)), ("corrected", (2, 10))])
def test_lvd_weighs_clips_by_frames_or_by_differences(
    variant: str, weights: tuple[int, int]
) -> None:
    clips = [(_points(k, frames, 9), _points(k + 5, frames, 9)) for k, frames in enumerate((3, 11))]
    metric = LVD(variant=variant)
    values = [float(metric(*clip)) for clip in clips]
    expected = np.average(values, weights=weights)
    assert float(metric.compute()) == pytest.approx(expected, rel=1e-12)


def test_published_lvd_counts_the_second_frame() -> None:
    truth = torch.zeros(3, 1, 3)
    predicted = truth.clone()
    predicted[1] = 0.02
    assert float(LVD(variant="published")(predicted, truth)) == pytest.approx(0.01, rel=1e-6)


def test_published_face_errors_are_averaged_over_the_whole_body() -> None:
    predicted, truth = _points(0, count=9), _points(1, count=9)
    padding = torch.zeros(40, 27, 3)
    whole = torch.cat([predicted, padding], 1), torch.cat([truth, padding], 1)
    for metric in (FaceMSE, LVD):
        averaged = float(metric(variant="published")(predicted, truth, still=27))
        assert averaged == pytest.approx(float(metric(variant="published")(*whole)), rel=1e-9)
        assert averaged == pytest.approx(
            float(metric(variant="published")(predicted, truth)) / 4, rel=1e-9
        )
        assert float(metric()(predicted, truth, still=27)) == float(metric()(predicted, truth))


@pytest.mark.parametrize("variant", BOTH)
def test_face_mse_does_not_depend_on_how_frames_are_split(variant: str) -> None:
    predicted, truth = _points(0, count=9), _points(1, count=9)
    metric = FaceMSE(variant=variant)
    for piece in (slice(0, 3), slice(3, 25), slice(25, 40)):
        metric.update(predicted[piece], truth[piece])
    assert float(metric.compute()) == pytest.approx(
        float(FaceMSE(variant=variant)(predicted, truth)), rel=1e-12
    )


def test_one_frame_has_no_velocity() -> None:
    face = _points(0, frames=1, count=9)
    for variant in BOTH:
        assert np.isnan(float(LVD(variant=variant)(face, face)))


def test_faces_of_different_lengths_are_an_error() -> None:
    with pytest.raises(ValueError, match="equal shapes"):
        FaceMSE()(_points(0, frames=3), _points(0, frames=4))


CLIP = _points(0)
NOT_FINITE = CLIP.clone()
NOT_FINITE[3, 5, 1] = torch.nan
ONES = torch.ones(40)


@pytest.mark.parametrize(
    "update",
    [
        lambda: L1Diversity().update(CLIP[None].expand(3, -1, -1, -1)),
        lambda: L1Diversity().update(CLIP[:0]),
        lambda: L1Diversity().update(NOT_FINITE),
        lambda: L1Diversity().update(CLIP[..., :2]),
        lambda: FaceMSE().update(CLIP[None], CLIP[None]),
        lambda: FaceMSE().update(NOT_FINITE, CLIP),
        lambda: LVD().update(CLIP, NOT_FINITE),
        lambda: SRGR().update(CLIP, CLIP[:1], ONES),
        lambda: SRGR().update(CLIP, NOT_FINITE, ONES),
        lambda: SRGR().update(CLIP, CLIP, ONES[:1]),
        lambda: SRGR().update(CLIP, CLIP, ONES * torch.inf),
    ],
    ids=range(11),
)
def test_points_that_are_not_one_finite_clip_are_an_error(update: Callable[[], None]) -> None:
    with pytest.raises(ValueError, match="expected"):
        update()


def test_perfect_recall_is_one_in_the_corrected_variant_alone() -> None:
    joints = _points(0)
    weights = torch.full((40,), 0.33)
    assert float(SRGR()(joints, joints, weights)) == pytest.approx(1)
    assert float(SRGR(variant="published")(joints, joints, weights)) == pytest.approx(2, rel=1e-6)


def test_recall_uses_the_sum_of_coordinates_or_the_distance() -> None:
    truth = torch.zeros(10, 55, 3)
    weights = torch.full((10,), 0.165)
    off = truth + 0.05  # 0.15 by the sum, 0.087 by distance.
    assert float(SRGR(variant="published")(off, truth, weights)) == 0
    assert float(SRGR()(off, truth, weights)) == pytest.approx(1)
    assert float(SRGR(variant="evaltools")(off, truth, weights)) == pytest.approx(0.165 / 0.1672)


def test_frames_are_weighted_by_their_semantic_score() -> None:
    truth = torch.zeros(4, 55, 3)
    predicted = truth.clone()
    weights = torch.tensor([0.0, 1.0, 0.0, 3.0])
    predicted[3] += 1
    assert float(SRGR()(predicted, truth, weights)) == 0.25
    predicted[[0, 2]] += 1
    assert float(SRGR()(predicted, truth, weights)) == 0.25


def test_without_annotations_there_is_no_recall() -> None:
    metric = SRGR()
    assert np.isnan(float(metric(_points(0), _points(0), None)))
    assert np.isnan(float(metric(_points(0), _points(0), torch.zeros(40))))
    metric.update(_points(0), _points(0), torch.ones(40))
    assert float(metric.compute()) == 1


def test_a_frame_has_the_weight_of_the_first_annotation_that_contains_it() -> None:
    annotations = [
        SimpleNamespace(start=0.0, end=0.1, score=0.1),
        SimpleNamespace(start=0.1, end=0.2, score=0.7),
    ]
    np.testing.assert_allclose(
        semantic_weights(annotations, 8), [0.1, 0.1, 0.1, 0.1, 0.7, 0.7, 0.7, 0], atol=1e-6
    )


def test_srgr_measures_euclidean_distance() -> None:
    """0.11 m away; a norm of higher order would give 0.088 m, which is below the threshold."""
    truth = torch.zeros(1, 55, 3)
    predicted = truth + 0.11 / 3**0.5
    assert float(SRGR()(predicted, truth, torch.ones(1))) == 0


def test_srgr_adds_weights_in_double_precision() -> None:
    weights = torch.full((3,), 0.1)
    perfect = SRGR(variant="evaltools")
    perfect.update(torch.zeros(3, 55, 3), torch.zeros(3, 55, 3), weights)
    exact = float(weights.double().sum()) / (3 * 0.1672)
    assert float(perfect.compute()) == pytest.approx(exact, rel=1e-12)


def test_semantic_weights_are_single_precision() -> None:
    assert semantic_weights([], 5).dtype == np.float32


@pytest.mark.parametrize(
    ("update", "name"),
    [
        (lambda: L1Diversity().update(NOT_FINITE), "joints"),
        (lambda: FaceMSE().update(NOT_FINITE, CLIP), "face vertices"),
        (lambda: FaceMSE().update(CLIP, NOT_FINITE), "face vertices of the truth"),
        (lambda: SRGR().update(NOT_FINITE, CLIP, ONES), "joints"),
        (lambda: SRGR().update(CLIP, NOT_FINITE, ONES), "joints of the truth"),
    ],
)
def test_an_error_names_the_points_that_are_wrong(update: Callable[[], None], name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}: expected metres"):
        update()


def test_a_joint_at_the_threshold_is_not_recalled() -> None:
    truth = torch.zeros(1, 55, 3, dtype=torch.float64)
    predicted = truth + torch.tensor([0.1, 0.0, 0.0], dtype=torch.float64)
    assert float(SRGR()(predicted, truth, torch.ones(1))) == 0


def test_corrected_srgr_of_many_weights_is_exact() -> None:
    """The sum of 10,000 weights in single precision is off by 1e-4."""
    joints = torch.zeros(10_000, 1, 3)
    weights = torch.rand(10_000, generator=torch.Generator().manual_seed(0))
    assert float(SRGR()(joints, joints, weights)) == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("metric", [FaceMSE, LVD])
def test_face_errors_are_computed_in_double_precision(metric: type[FaceMSE] | type[LVD]) -> None:
    predicted, truth = _points(0, count=9), _points(1, count=9)
    exact = float(metric()(predicted.double(), truth.double()))
    assert float(metric()(predicted, truth)) == pytest.approx(exact, rel=1e-12)
    assert float(metric()(predicted.double(), truth)) == pytest.approx(exact, rel=1e-12)


def test_diversity_is_computed_in_double_precision() -> None:
    joints = _points(0)
    exact = float(L1Diversity()(joints.double()))
    assert float(L1Diversity()(joints)) == pytest.approx(exact, rel=1e-12)


def test_corrected_mse_is_the_mean_over_the_face() -> None:
    face = torch.zeros(4, 9, 3)
    assert float(FaceMSE()(face + 0.5, face, still=3)) == 0.25


@pytest.mark.parametrize("metric", [FaceMSE, LVD, L1Diversity, SRGR])
def test_the_variant_of_a_metric_can_be_read(metric: type[Metric]) -> None:
    assert [metric(variant=variant).variant for variant in BOTH] == list(BOTH)
    with pytest.raises(ValueError, match="found 'ours'"):
        metric(variant="ours")
