"""Comparison of rotations that went through the published axis-angle formula."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from mambatalk.motion.rotations import (
    axis_angle_from_6d,
    axis_angle_to_6d,
    matrix_from_6d,
    matrix_to_6d,
    matrix_to_axis_angle,
)
from mambatalk.published.fixture import ROLLOUT_TOLERANCE, Fixture, Measure, ill_conditioned

ABOUT_ONE_AXIS = [[1.0, 0.0, 0.0], [0.0, -0.4, 0.0], [0.0, 0.0, 3.1]]
ABOUT_ALL_AXES = [[0.3, -0.7, 0.5], [1.2, 0.4, -0.9]]
NO_ROTATION = [[0.0, 0.0, 0.0]]


def _compare(folder: Path, ours: Tensor, theirs: Tensor) -> list[Measure]:
    np.savez(folder / "clip.npz", allow_pickle=False, pose=theirs.flatten()[None].numpy())
    fixture = Fixture(folder / "clip.npz")
    return list(fixture.rotations("pose", ours.flatten()[None], tolerance=ROLLOUT_TOLERANCE))


def _published(matrix: Tensor) -> Tensor:
    return axis_angle_to_6d(matrix_to_axis_angle(matrix, formula="published"))


def _turned(rotation: list[list[float]], angle: float) -> Tensor:
    """6D rotations turned further about their own axes, those without any about the first."""
    axis = torch.nn.functional.normalize(torch.tensor(rotation).double(), dim=-1)
    return axis_angle_to_6d(torch.tensor(rotation).double() + angle * axis).float()


@pytest.mark.parametrize("rotation", [ABOUT_ONE_AXIS, NO_ROTATION])
def test_a_last_bit_that_the_published_formula_magnifies_passes(
    tmp_path: Path, rotation: list[list[float]]
) -> None:
    exact = matrix_from_6d(axis_angle_to_6d(torch.tensor(rotation)))
    rounded = exact.clone()
    rounded.diagonal(dim1=-2, dim2=-1).mul_(1 - 2**-23)
    ours, theirs = _published(rounded), _published(exact)
    assert float((ours - theirs).abs().max()) > ROLLOUT_TOLERANCE
    measures = _compare(tmp_path, ours, theirs)
    assert all(measure.ok for measure in measures), measures


@pytest.mark.parametrize("rotation", [ABOUT_ONE_AXIS, ABOUT_ALL_AXES])
def test_a_rotation_wrong_by_two_bars_fails(tmp_path: Path, rotation: list[list[float]]) -> None:
    theirs = axis_angle_to_6d(torch.tensor(rotation))
    assert all(measure.ok for measure in _compare(tmp_path, _turned(rotation, 2e-5), theirs))
    wrong = _compare(tmp_path, _turned(rotation, 2e-4), theirs)
    assert not all(measure.ok for measure in wrong), wrong


def test_only_rotations_with_a_component_near_zero_are_compared_by_angle() -> None:
    rotation = axis_angle_to_6d(torch.tensor(ABOUT_ONE_AXIS + ABOUT_ALL_AXES + NO_ROTATION))
    assert ill_conditioned(rotation).tolist() == [True, True, True, False, False, True]


def test_half_a_turn_is_the_same_about_either_direction_of_its_axis(tmp_path: Path) -> None:
    one = axis_angle_to_6d(torch.tensor([[0.0, torch.pi, 0.0]]))
    other = axis_angle_to_6d(torch.tensor([[0.0, -torch.pi, 0.0]]))
    assert all(measure.ok for measure in _compare(tmp_path, one, other))


def test_a_large_component_of_the_other_sign_fails(tmp_path: Path) -> None:
    one, other = (axis_angle_to_6d(torch.tensor([[sign, 0.0, 0.0]])) for sign in (0.5, -0.5))
    assert not all(measure.ok for measure in _compare(tmp_path, one, other))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_not_finite_fails(tmp_path: Path, value: float) -> None:
    theirs = axis_angle_to_6d(torch.tensor(ABOUT_ONE_AXIS))
    ours = theirs.clone()
    ours[0, 1] = value
    assert not all(measure.ok for measure in _compare(tmp_path, ours, theirs))


def test_another_number_of_rotations_fails(tmp_path: Path) -> None:
    theirs = axis_angle_to_6d(torch.tensor(ABOUT_ONE_AXIS))
    assert not all(measure.ok for measure in _compare(tmp_path, theirs[:2], theirs))


def test_the_formulas_agree_on_rotations_that_are_not_ill_conditioned() -> None:
    rotation = matrix_to_6d(matrix_from_6d(axis_angle_to_6d(torch.tensor(ABOUT_ALL_AXES))))
    published = axis_angle_from_6d(rotation, formula="published")
    torch.testing.assert_close(published, axis_angle_from_6d(rotation), rtol=1e-5, atol=1e-5)
