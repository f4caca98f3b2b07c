"""Drift, height, skating and penetration: the statements of their docstrings."""

import numpy as np
import pytest
import torch

from mambatalk.metrics import (
    DeepestPenetration,
    FloorPenetration,
    FootSkating,
    FootSkatingRatio,
    HeightError,
    RootDrift,
)
from mambatalk.motion.kinematics import floor_height

FPS = 30


def _standing(frames: int = 600) -> torch.Tensor:
    """Return ankles (8 cm) and feet (2 cm above the floor) that do not move."""
    feet = torch.zeros(frames, 4, 3)
    feet[:, :2, 1], feet[:, 2:, 1] = 0.08, 0.02
    return feet


def _slide(speed: float, frames: int = 600) -> torch.Tensor:
    """Return a displacement (n, 3) along x at a speed in metres per second."""
    moved = torch.zeros(frames, 3)
    moved[:, 0] = speed / FPS * torch.arange(frames)
    return moved


def test_drift_is_the_way_in_ten_seconds() -> None:
    assert float(RootDrift()(_slide(0.1))) == pytest.approx(1.0, rel=1e-4)
    assert float(RootDrift()(_slide(0.1, frames=151))) == pytest.approx(0.5), "a clip of 5 s"
    assert float(RootDrift()(torch.rand(1, 3).expand(600, 3))) == 0
    assert bool(RootDrift()(torch.zeros(1, 3)).isnan())


def test_drift_is_horizontal() -> None:
    rising = _slide(0.1)[:, [1, 0, 2]]
    assert float(RootDrift()(rising)) == 0


def test_the_height_error_has_no_sign_and_does_not_cancel_over_clips() -> None:
    truth = torch.ones(60, 3)
    metric = HeightError()
    metric.update(truth + torch.tensor([9.0, 0.05, 9.0]), truth)
    metric.update(truth - torch.tensor([0.0, 0.05, 0.0]), truth)
    assert float(metric.compute()) == pytest.approx(0.05, rel=1e-4)


def test_a_body_that_slides_skates_at_its_speed() -> None:
    slide = _slide(0.2)[:, None]
    assert float(FootSkating()(_standing())) == 0
    assert float(FootSkating()(_standing() + slide)) == pytest.approx(0.2, rel=1e-3)
    floating = _standing() + slide + torch.tensor([0.0, 0.5, 0.0])
    assert float(FootSkating()(floating)) == pytest.approx(0.2, rel=1e-3), "no way out of contact"


def test_a_foot_in_the_air_does_not_skate() -> None:
    feet = _standing()
    feet[100:150, (0, 2), 1] += 0.2
    feet[100:150, (0, 2), 0] += torch.linspace(0, 0.5, 50)[:, None]
    feet[150:, (0, 2), 0] += 0.5
    assert float(FootSkating()(feet)) < 0.001
    assert float(FootSkatingRatio()(feet, 0.02)) == 0


def test_the_skating_ratio_counts_frames_of_fast_feet_on_the_floor() -> None:
    feet = _standing(101)
    feet[50:, 2, 0] += (0.6 / FPS * torch.arange(51)).float()
    assert float(FootSkatingRatio()(feet, 0.02)) == pytest.approx(0.5)
    assert float(FootSkatingRatio()(_standing() + _slide(0.4)[:, None], 0.02)) == 0


def test_penetration_is_below_the_floor_of_the_recording() -> None:
    floor = floor_height(_standing().numpy())
    assert floor == pytest.approx(0.02)
    sunk = _standing()
    sunk[:300, :, 1] -= 0.1
    assert float(FloorPenetration()(_standing(), floor)) == pytest.approx(0, abs=1e-6)
    assert float(FloorPenetration()(sunk, floor)) == pytest.approx(0.05, rel=1e-4)
    assert float(DeepestPenetration()(sunk, floor)) == pytest.approx(0.1, rel=1e-4)
    higher = _standing() + torch.tensor([0.0, 0.7, 0.0])
    assert float(FloorPenetration()(higher, floor_height(higher.numpy()))) < 1e-6


def test_the_deepest_penetration_is_that_of_the_worst_clip() -> None:
    metric = DeepestPenetration()
    assert bool(metric.compute().isnan())
    for depth in (0.01, 0.3, 0.02):
        value = metric(_standing(60) - torch.tensor([0.0, depth, 0.0]), 0.02)
        assert float(value) == pytest.approx(depth, rel=1e-4)
    assert float(metric.compute()) == pytest.approx(0.3, rel=1e-4)


def test_single_frames_do_not_set_the_floor() -> None:
    feet = _standing().numpy()
    feet[::200, :, 1] = -1.0
    assert floor_height(feet) == pytest.approx(0.02)
    assert np.isfinite(floor_height(feet[:1]))


def test_the_height_error_looks_at_the_height_only() -> None:
    root = torch.tensor([[0.0, 1.0, 0.0]]).expand(30, 3)
    elsewhere = torch.tensor([[5.0, 1.25, 7.0]]).expand(30, 3)
    assert float(HeightError()(root, elsewhere)) == pytest.approx(0.25)


def test_two_frames_are_enough_to_skate() -> None:
    feet = _standing(2) + _slide(0.9, 2)[:, None]
    assert float(FootSkating()(feet)) == pytest.approx(0.9, rel=1e-5)
    assert float(FootSkatingRatio()(feet, 0.0)) == 1


def test_clips_weigh_as_many_steps_as_they_have() -> None:
    skating, ratio = FootSkating(), FootSkatingRatio()
    for frames, speed in ((4, 0.9), (2, 0.1)):
        feet = _standing(frames) + _slide(speed, frames)[:, None]
        skating.update(feet)
        ratio.update(feet, 0.0)
    assert float(skating.compute()) == pytest.approx((3 * 0.9 + 0.1) / 4, rel=1e-5)
    assert float(ratio.compute()) == pytest.approx(3 / 4)


def test_the_skating_ratio_needs_contact_in_both_frames_with_the_floor_where_it_is() -> None:
    feet = _standing(60) + _slide(0.9, 60)[:, None]
    feet[30:, :, 1] += 1
    assert float(FootSkatingRatio()(feet, 0.0)) == pytest.approx(29 / 59)
    feet = _standing(60) + _slide(0.9, 60)[:, None] + torch.tensor([0, 3.0, 9.0])
    assert float(FootSkatingRatio()(feet, 3.0)) == 1
    assert float(FootSkatingRatio()(feet, 2.9)) == 0


@pytest.mark.parametrize(
    ("metric", "name"), [(FootSkating(), "feet"), (RootDrift(), "root")], ids=["feet", "root"]
)
def test_the_points_that_are_wrong_are_named(metric: FootSkating, name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}: "):
        metric(torch.full((5, 3), torch.nan) if name == "root" else torch.zeros(5, 3))


def test_the_roots_need_the_same_shape() -> None:
    with pytest.raises(ValueError, match="^root: "):
        HeightError()(torch.zeros(5, 3), torch.zeros(6, 3))
    with pytest.raises(ValueError, match="^root of the truth: "):
        HeightError()(torch.zeros(5, 3), torch.full((5, 3), torch.nan))
