"""Frechet gesture distance: the statements of its docstring."""

import numpy as np
import pytest
import torch

from mambatalk.metrics import FrechetGestureDistance
from mambatalk.metrics.frechet import Gaussian, frechet_distance

VARIANTS = ("published", "corrected", "evaltools")


def _features(seed: int, rows: int = 400, dim: int = 8) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    mix = torch.randn(dim, dim, generator=torch.Generator().manual_seed(99)) / dim**0.5
    return torch.randn(rows, dim, generator=random) @ mix + torch.linspace(0, 1, dim)


def _distance(
    generated: torch.Tensor, truth: torch.Tensor, variant: str = "corrected", parts: int = 1
) -> float:
    metric = FrechetGestureDistance(generated.shape[-1], variant=variant)
    for piece in generated.tensor_split(parts):
        metric.update(piece, truth=False)
    for piece in truth.tensor_split(parts):
        metric.update(piece, truth=True)
    return float(metric.compute())


@pytest.mark.parametrize("variant", VARIANTS)
def test_distance_is_zero_for_equal_sets_and_grows_with_noise(variant: str) -> None:
    truth = _features(0)
    noise = torch.randn(400, 8, generator=torch.Generator().manual_seed(1))
    assert _distance(truth, truth, variant) == pytest.approx(0, abs=1e-4)
    distances = [_distance(truth + share * noise, truth, variant) for share in (0.1, 0.3, 1.0)]
    assert 0 < distances[0] < distances[1] < distances[2]


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_shift_of_the_mean_adds_its_square(variant: str) -> None:
    truth = _features(0)
    assert _distance(truth + 0.5, truth, variant) == pytest.approx(8 * 0.25, abs=1e-4)


def test_distance_equals_that_of_known_gaussians() -> None:
    """For commuting covariances it is the sum of squared differences of standard deviations."""
    scale = torch.tensor([1.0, 2.0, 0.5])
    truth = torch.cat(
        [s * torch.eye(3)[k] * torch.tensor([[1.0], [-1.0]]) for k, s in enumerate([1.0, 1.0, 1.0])]
    )
    generated = truth * scale
    deviation = truth.double().T.cov().diagonal().sqrt()
    expected = float((deviation * (scale.double() - 1)).square().sum())
    assert _distance(generated, truth) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("parts", [2, 7, 400])
def test_distance_does_not_depend_on_how_clips_are_split(variant: str, parts: int) -> None:
    generated, truth = _features(0), _features(1)
    assert _distance(generated, truth, variant, parts) == pytest.approx(
        _distance(generated, truth, variant), rel=1e-9
    )


def test_memory_does_not_grow_with_clips() -> None:
    metric = FrechetGestureDistance(8)
    sizes = set()
    for seed in range(5):
        metric.update(_features(seed), truth=True)
        sizes.add(sum(getattr(metric, name).numel() for name in metric._defaults))
    assert len(sizes) == 1


def test_published_and_corrected_agree_on_full_rank() -> None:
    generated, truth = _features(0), 1.3 * _features(1)
    assert _distance(generated, truth, "published") == pytest.approx(
        _distance(generated, truth), rel=1e-9
    )


def test_evaltools_differs_by_what_it_adds_to_the_diagonals() -> None:
    generated, truth = _features(0), 1.3 * _features(1)
    difference = abs(
        _distance(generated, truth, "evaltools") - _distance(generated, truth, "published")
    )
    assert 0 < difference < 1e-3


def test_corrected_distance_is_defined_with_fewer_rows_than_dimensions() -> None:
    generated, truth = torch.rand(5, 32), torch.rand(4, 32)
    assert _distance(generated, truth) >= 0
    assert _distance(truth, truth) == pytest.approx(0, abs=1e-6)


def test_distance_is_undefined_below_two_rows() -> None:
    metric = FrechetGestureDistance(4)
    metric.update(torch.rand(1, 4), truth=True)
    metric.update(torch.rand(50, 4), truth=False)
    assert np.isnan(float(metric.compute()))
    assert metric.rows == 1
    metric.update(torch.rand(1, 4), truth=True)
    assert metric.rows == 2
    assert np.isfinite(float(metric.compute()))


@pytest.mark.parametrize("features", [torch.rand(10, 8), torch.full((10, 4), torch.nan)])
def test_features_of_another_size_or_not_finite_are_an_error(features: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="FGD features"):
        FrechetGestureDistance(4).update(features, truth=True)


def test_an_unknown_variant_is_an_error() -> None:
    with pytest.raises(ValueError, match="published or corrected.*'legacy'"):
        FrechetGestureDistance(4, variant="legacy")


def test_corrected_distance_of_equal_sets_is_never_negative() -> None:
    distances = [_distance(_features(seed), _features(seed)) for seed in range(30)]
    assert min(distances) >= 0


def _scalar_gaussian(variance: float) -> Gaussian:
    return Gaussian(np.zeros(1), np.array([[variance]]))


def test_evaltools_adds_1e_6_to_both_diagonals() -> None:
    a, b = 1e-6, 3e-6
    distance = frechet_distance(_scalar_gaussian(a), _scalar_gaussian(b), variant="evaltools")
    expected = a + b - 2 * np.sqrt((a + 1e-6) * (b + 1e-6))
    assert distance == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("imaginary", "defined"), [(1e-4, True), (1e-2, False)])
def test_a_large_imaginary_part_makes_published_fgd_undefined(
    imaginary: float, defined: bool
) -> None:
    """Rounding can make the product of covariances negative, and its root imaginary."""
    a, b = _scalar_gaussian(1.0), _scalar_gaussian(-(imaginary**2))
    assert np.isfinite(frechet_distance(a, b, variant="published")) == defined


def test_corrected_is_the_default_and_has_no_imaginary_root() -> None:
    a, b = _scalar_gaussian(1.0), _scalar_gaussian(-(1e-2**2))
    assert np.isfinite(frechet_distance(a, b, variant="corrected"))
    assert frechet_distance(a, b) == frechet_distance(a, b, variant="corrected")


def test_features_have_240_channels_unless_told_otherwise() -> None:
    metric = FrechetGestureDistance()
    metric.update(_features(0, dim=240), truth=False)
    metric.update(_features(0, dim=240), truth=True)
    assert float(metric.compute()) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("rows", [1, 400])
def test_the_distance_is_in_double_precision(rows: int) -> None:
    metric = FrechetGestureDistance(8)
    metric.update(_features(0, rows), truth=False)
    metric.update(_features(1, rows), truth=True)
    assert metric.compute().dtype == torch.float64


def test_processes_that_scored_a_part_each_add_up() -> None:
    whole, first, second = (FrechetGestureDistance(8) for _ in range(3))
    for seed, part in enumerate((first, second, first, second)):
        for metric in (whole, part):
            metric.update(_features(seed), truth=seed < 2)
    first.merge_state(second)
    assert float(first.compute()) == pytest.approx(float(whole.compute()), rel=1e-9)
