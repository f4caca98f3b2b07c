"""Rotations: conversions invert each other, 6D is rows, and where the two formulas differ."""

import math

import pytest
import torch

from mambatalk.motion.rotations import (
    Formula,
    axis_angle_from_6d,
    axis_angle_to_6d,
    axis_angle_to_matrix,
    matrix_from_6d,
    matrix_to_6d,
    matrix_to_axis_angle,
)


def _rotations(count: int = 200, largest: float = 3.1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    axis = torch.nn.functional.normalize(
        torch.randn(count, 3, generator=generator, dtype=torch.float64), dim=-1
    )
    return axis * torch.rand(count, 1, generator=generator, dtype=torch.float64) * largest


def test_6d_is_the_first_two_rows_of_the_matrix() -> None:
    quarter = torch.tensor([0.0, 0.0, math.pi / 2])
    # A quarter turn about z takes x to y, so y is the first column, and the rows are (0 -1 0) and
    # (1 0 0).
    torch.testing.assert_close(axis_angle_to_6d(quarter), torch.tensor([0.0, -1, 0, 1, 0, 0]))
    torch.testing.assert_close(axis_angle_to_6d(torch.zeros(3)), torch.tensor([1.0, 0, 0, 0, 1, 0]))


@pytest.mark.parametrize("formula", ["roma", "published"])
def test_axis_angle_converts_to_6d_and_back(formula: Formula) -> None:
    rotation = _rotations()
    torch.testing.assert_close(
        axis_angle_from_6d(axis_angle_to_6d(rotation), formula=formula),
        rotation,
        rtol=1e-6,
        atol=1e-6,
    )


def test_any_6d_converts_to_a_rotation_matrix() -> None:
    raw = torch.randn(100, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    matrix = matrix_from_6d(raw)
    torch.testing.assert_close(
        matrix @ matrix.mT, torch.eye(3, dtype=torch.float64).expand(100, 3, 3)
    )
    torch.testing.assert_close(torch.linalg.det(matrix), torch.ones(100, dtype=torch.float64))
    torch.testing.assert_close(matrix[:, 0], torch.nn.functional.normalize(raw[:, :3], dim=-1))


def test_leading_shapes_are_kept() -> None:
    x = torch.randn(2, 5, 4, 3)
    assert axis_angle_to_matrix(x).shape == (2, 5, 4, 3, 3)
    assert matrix_to_6d(axis_angle_to_matrix(x)).shape == (2, 5, 4, 6)
    assert axis_angle_from_6d(axis_angle_to_6d(x), formula="published").shape == (2, 5, 4, 3)


def test_the_published_formula_loses_small_angles_that_roma_keeps() -> None:
    small = torch.tensor([1e-4, -2e-4, 5e-5])
    matrix = axis_angle_to_matrix(small)
    torch.testing.assert_close(matrix_to_axis_angle(matrix), small, rtol=1e-3, atol=0)
    assert (matrix_to_axis_angle(matrix, formula="published") - small).abs().max() > 1e-5


def test_zero_6d_converts_to_finite_numbers() -> None:
    assert matrix_from_6d(torch.zeros(6)).isfinite().all()


@pytest.mark.parametrize("angle", [0.0, 1e-6, 1e-3, 3.0])
def test_gradients_through_roma_are_finite(angle: float) -> None:
    rotation = torch.tensor([angle, 0.0, 0.0], requires_grad=True)
    axis_angle_from_6d(axis_angle_to_6d(rotation)).sum().backward()
    assert rotation.grad is not None
    assert rotation.grad.isfinite().all()
