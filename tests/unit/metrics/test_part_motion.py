"""Range, speed, jerk, correlation and posture of parts: the statements of their docstrings."""

import numpy as np
import pytest
import roma
import torch
from torch import Tensor

from mambatalk.metrics import (
    MotionCorrelation,
    MotionJerk,
    MotionRange,
    MotionSpeed,
    PostureError,
)
from mambatalk.metrics.catalogue import MOVING_PARTS
from mambatalk.metrics.part_motion import part_motion

FPS = 30


def _rotations(angle: Tensor, axis: tuple[float, float, float] = (1, 0, 0)) -> Tensor:
    """Return rotations (n, 1, 3, 3) of one joint by angles (n,) about an axis."""
    rotvec = angle[:, None] * torch.tensor(axis, dtype=torch.float64)
    return roma.rotvec_to_rotmat(rotvec).unsqueeze(1)


def _wave(frames: int = 300, *, size: float = 0.2, frequency: float = 1.0) -> Tensor:
    time = torch.arange(frames, dtype=torch.float64) / FPS
    return size * torch.sin(2 * np.pi * frequency * time)


def test_the_range_of_a_sine_is_its_standard_deviation() -> None:
    assert float(MotionRange()(_rotations(_wave()))) == pytest.approx(0.2 / 2**0.5, rel=1e-3)
    assert float(MotionRange()(_wave()[:, None, None])) == pytest.approx(0.2 / 2**0.5, rel=1e-3)


def test_the_range_does_not_depend_on_the_pose_it_starts_from() -> None:
    """Axis-angle jumps at pi, and angles add up in no other form."""
    turned = _rotations(torch.full((300,), 3.1, dtype=torch.float64)) @ _rotations(_wave())
    assert float(MotionRange()(turned)) == pytest.approx(0.2 / 2**0.5, rel=1e-3)


def test_a_frozen_part_has_no_range_speed_or_jerk() -> None:
    still = _rotations(torch.full((50,), 0.7, dtype=torch.float64))
    for metric in (MotionRange(), MotionSpeed(), MotionJerk()):
        assert float(metric(still)) == pytest.approx(0, abs=1e-6)


def test_speed_and_jerk_of_a_constant_rotation() -> None:
    turning = _rotations(torch.arange(60, dtype=torch.float64) / FPS, axis=(0, 0, 1))
    assert float(MotionSpeed()(turning)) == pytest.approx(1)
    assert float(MotionJerk()(turning)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("form", ["rotations", "points"])
def test_half_the_speed_halves_speed_and_divides_jerk_by_eight(form: str) -> None:
    fast, slow = _wave(600, frequency=2), _wave(600, frequency=1)
    clips = [_rotations(one) if form == "rotations" else one[:, None, None] for one in (fast, slow)]
    speeds = [float(MotionSpeed()(clip)) for clip in clips]
    jerks = [float(MotionJerk()(clip)) for clip in clips]
    assert speeds[1] / speeds[0] == pytest.approx(0.5, rel=0.02)
    assert jerks[1] / jerks[0] == pytest.approx(1 / 8, rel=0.05)


def test_trembling_multiplies_jerk_and_hardly_changes_range() -> None:
    noise = torch.randn(300, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    smooth, shaking = _rotations(_wave()), _rotations(_wave() + 0.01 * noise)
    assert float(MotionJerk()(shaking)) > 5 * float(MotionJerk()(smooth))
    assert float(MotionRange()(shaking)) < 1.02 * float(MotionRange()(smooth))


def test_correlation_ignores_size_and_pose_and_sees_direction() -> None:
    truth = _rotations(_wave())
    pose = _rotations(torch.full((300,), 1.0, dtype=torch.float64))
    assert float(MotionCorrelation()(truth, truth)) == pytest.approx(1)
    assert float(MotionCorrelation()(_rotations(0.3 * _wave()), truth)) > 0.98
    assert float(MotionCorrelation()(pose @ truth, pose @ truth)) == pytest.approx(1)
    assert float(MotionCorrelation()(_rotations(-_wave()), truth)) < -0.95
    other = _rotations(_wave(frequency=0.5))
    assert float(MotionCorrelation()(other, truth)) == pytest.approx(0, abs=0.05)


def test_a_part_that_stands_still_has_correlation_zero() -> None:
    """Rounding of equal frames may not correlate with anything."""
    still = roma.random_rotmat(1).double().expand(300, 1, 3, 3)
    assert float(MotionCorrelation()(still, _rotations(_wave()))) == 0
    assert bool(MotionCorrelation()(_rotations(_wave()), still).isnan()), "nothing to follow"


def test_posture_is_the_angle_between_mean_poses() -> None:
    truth = _rotations(_wave())
    turned = _rotations(torch.full((300,), 0.3, dtype=torch.float64), axis=(0, 1, 0)) @ truth
    assert float(PostureError()(truth, truth)) == pytest.approx(0, abs=1e-6)
    assert float(PostureError()(turned, truth)) == pytest.approx(0.3, rel=1e-6)


def test_clips_are_weighted_by_their_frames() -> None:
    metric = MotionRange()
    metric.update(_wave(300)[:, None, None])
    metric.update(torch.zeros(100, 1, 1))
    assert float(metric.compute()) == pytest.approx(0.75 * 0.2 / 2**0.5, rel=1e-3)


def test_clips_that_are_too_short_are_left_out() -> None:
    assert bool(MotionSpeed()(torch.zeros(1, 1, 3)).isnan())
    assert bool(MotionJerk()(torch.zeros(3, 1, 3)).isnan())


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        MotionRange()(torch.full((3, 1, 3), torch.nan))
    with pytest.raises(ValueError, match="one clip"):
        MotionSpeed()(torch.zeros(3, 3))
    with pytest.raises(ValueError, match="equal shapes"):
        MotionCorrelation()(torch.zeros(3, 1, 3), torch.zeros(4, 1, 3))


def test_the_parts_are_all_that_is_generated() -> None:
    parts = part_motion(torch.eye(3).repeat(5, 55, 1, 1), torch.zeros(5, 100), torch.zeros(5, 3))
    assert set(parts) == set(MOVING_PARTS)
    joints = sum(part.shape[1] for name, part in parts.items() if part.ndim == 4)
    assert joints == 53, "all joints but the eyes, which no method generates"


def _points(*positions: tuple[float, float, float]) -> Tensor:
    """Return one point (n, 1, 3) at positions in metres."""
    return torch.tensor(positions, dtype=torch.float64)[:, None]


def _cubic(frames: int, factor: float = 1.0) -> Tensor:
    """Return a point (n, 1, 3) whose x is `factor` times the cube of the time in seconds."""
    time = torch.arange(frames, dtype=torch.float64) / FPS
    return torch.stack([factor * time**3, 0 * time + 2, 0 * time], -1)[:, None]


def test_points_have_units_of_metres_and_seconds() -> None:
    there_and_back = _points(*[(5.3, 0.4, 9), (4.7, -0.4, 9)] * 10)
    assert float(MotionRange()(there_and_back)) == pytest.approx(0.5)
    still = torch.full_like(there_and_back, 3)
    both = torch.cat([there_and_back, still], 1)
    assert float(MotionRange()(both)) == pytest.approx(0.25), "the mean over points"
    straight = _points(*[(0.3 * k, 0, 0.4 * k) for k in range(5)])
    assert float(MotionSpeed()(straight)) == pytest.approx(0.5 * FPS)
    assert float(MotionJerk()(_cubic(31))) == pytest.approx(6), "the third derivative of t cubed"


def test_clips_weigh_as_many_speeds_and_jerks_as_they_have() -> None:
    speed = MotionSpeed()
    speed.update(_points((0, 0, 0), (1, 0, 0), (2, 0, 0)))
    speed.update(_points((0, 0, 0), (4, 0, 0)))
    assert float(speed.compute()) == pytest.approx((1 + 1 + 4) / 3 * FPS)
    jerk = MotionJerk()
    jerk.update(_cubic(5))
    jerk.update(_cubic(4, factor=2))
    assert float(jerk.compute()) == pytest.approx((6 + 6 + 12) / 3)


def test_correlation_takes_each_point_by_itself() -> None:
    time = torch.arange(300, dtype=torch.float64) / FPS
    first, second = torch.sin(2 * np.pi * time), torch.cos(2 * np.pi * time)
    truth = torch.stack([first, second + 4], 1)[..., None]
    assert float(MotionCorrelation()(truth + 1, truth)) == pytest.approx(1)
    half_opposed = torch.stack([first, -second], 1)[..., None]
    assert float(MotionCorrelation()(half_opposed, truth)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("metric", [MotionRange, MotionSpeed, MotionJerk])
def test_what_is_wrong_with_a_motion_is_named(metric: type[MotionRange]) -> None:
    with pytest.raises(ValueError, match=r"^motion: expected rotations .* found shape \(5, 3\)"):
        metric()(torch.zeros(5, 3))
    with pytest.raises(ValueError, match="^motion: found values that are not finite"):
        metric()(torch.full((5, 1, 3), torch.nan))


@pytest.mark.parametrize("metric", [MotionCorrelation, PostureError])
def test_motion_and_truth_need_the_same_shape(metric: type[PostureError]) -> None:
    truth = _rotations(_wave(20))
    with pytest.raises(ValueError, match="^motion: expected equal shapes"):
        metric()(truth[:10], truth)
    with pytest.raises(ValueError, match="^motion of the truth: found values that are not finite"):
        metric()(truth, truth * torch.nan)
