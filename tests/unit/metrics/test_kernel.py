"""Kernel distance: the statements of its docstring."""

import numpy as np
import pytest
import torch
from torchmetrics.image.kid import poly_mmd

from mambatalk.metrics import KernelDistance
from mambatalk.metrics.kernel import kernel_sums


def _features(seed: int, rows: int = 60, *, shift: float = 0.0) -> torch.Tensor:
    return torch.randn(rows, 8, generator=torch.Generator().manual_seed(seed)) + shift


def _distance(generated: torch.Tensor, truth: torch.Tensor, parts: int = 1) -> float:
    metric = KernelDistance(8)
    for features, is_truth in ((generated, False), (truth, True)):
        for piece in features.tensor_split(parts):
            metric.update(piece, truth=is_truth)
    return float(metric.compute())


@pytest.mark.parametrize("parts", [1, 7])
def test_the_distance_is_the_kid_of_torchmetrics(parts: int) -> None:
    generated, truth = _features(0, shift=0.3), _features(1)
    expected = float(poly_mmd(truth.double(), generated.double()))
    assert _distance(generated, truth, parts) == pytest.approx(expected, rel=1e-9)


def test_few_rows_do_not_inflate_it() -> None:
    """Its mean over draws of one distribution is 0, for any number of rows."""
    for rows in (4, 40):
        draws = [_distance(_features(2 * k, rows), _features(2 * k + 1, rows)) for k in range(200)]
        error = np.std(draws) / len(draws) ** 0.5
        assert abs(np.mean(draws)) < 3 * error


def test_it_grows_with_the_shift() -> None:
    distances = [_distance(_features(0, shift=shift), _features(1)) for shift in (0.2, 0.5, 1.0)]
    assert distances[0] < distances[1] < distances[2]


def test_sums_without_a_clip_are_those_of_the_other_clips() -> None:
    generated = [_features(k, 10 + k, shift=0.2) for k in range(4)]
    truth = [_features(10 + k, 10 + k) for k in range(4)]
    sums = kernel_sums(generated, truth)
    for k in range(4):
        rest = kernel_sums(generated[:k] + generated[k + 1 :], truth[:k] + truth[k + 1 :])
        assert sums.without(k).distance() == pytest.approx(rest.distance(), rel=1e-9)


def test_fewer_than_two_rows_have_no_distance() -> None:
    assert np.isnan(_distance(_features(0, 1), _features(1)))
    assert bool(KernelDistance(8).compute().isnan())


def test_other_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="8 finite channels"):
        KernelDistance(8).update(torch.zeros(3, 9), truth=True)
