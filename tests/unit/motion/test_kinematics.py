"""Foot contacts, velocities, and their integration."""

import pytest
import torch

from mambatalk.motion.kinematics import (
    central_velocity,
    contacts_of_feet,
    foot_contacts,
    integrate_velocity,
    integrate_within,
)


def test_a_foot_is_in_contact_below_one_centimetre_per_frame() -> None:
    joints = torch.zeros(4, 55, 3)
    joints[1:, 7, 0] = 0.009
    joints[2:, 8, 2] = 0.011
    contact = foot_contacts(joints)
    assert contact.shape == (4, 4)
    assert contact[:, 0].tolist() == [1, 1, 1, 1]
    assert contact[:, 1].tolist() == [1, 0, 1, 1], "the frame before the step"
    assert contact[-1].tolist() == [1, 1, 1, 1], "the last frame has no step"


def test_velocity_of_uniform_motion_integrates_to_its_positions() -> None:
    position = torch.arange(10.0)[:, None] * torch.tensor([0.02, 0.0, -0.01])
    velocity = central_velocity(position)
    torch.testing.assert_close(velocity, torch.tensor([0.6, 0.0, -0.3]).expand(10, 3))
    torch.testing.assert_close(integrate_velocity(velocity, position[0]), position)


def test_integration_begins_at_start_and_ignores_the_last_velocity() -> None:
    velocity = torch.zeros(2, 5, 2)
    velocity[:, -1] = 100
    start = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert torch.equal(integrate_velocity(velocity, start), start[:, None].expand(2, 5, 2))


@pytest.mark.parametrize("frames", [0, 1])
def test_a_clip_of_at_most_one_frame_has_velocity_zero_and_full_contact(frames: int) -> None:
    assert central_velocity(torch.ones(2, frames, 3)).tolist() == torch.zeros(2, frames, 3).tolist()
    assert contacts_of_feet(torch.ones(frames, 4, 3)).tolist() == torch.ones(frames, 4).tolist()


def test_a_bounded_integral_is_the_free_one_near_the_centre() -> None:
    time = torch.linspace(0, 12, 400)
    velocity = 0.2 * torch.stack([time.sin(), (1.3 * time).cos()], -1)[None]
    start = torch.tensor([[3.0, -1.0]])
    free = integrate_velocity(velocity, start)
    largest = float((free - start).norm(dim=-1).max())
    bounded = integrate_within(velocity, start, start, 3 * largest)
    torch.testing.assert_close(bounded.float(), free, atol=1e-3, rtol=0)


@pytest.mark.parametrize("speed", [0.3, 30.0])
def test_a_bounded_integral_never_runs_away(speed: float) -> None:
    start = torch.tensor([[3.0, -1.0]])
    path = integrate_within(torch.full((1, 3000, 2), speed), start, start, 0.5)
    distance = (path - start).norm(dim=-1)[0]
    assert 0.45 < distance[-1] <= distance.max() <= 0.5 + 1e-6


def test_nothing_holds_a_bounded_integral_at_the_border() -> None:
    velocity = torch.full((1, 3010, 2), 0.3)
    velocity[:, 3000:] *= -1
    start = torch.zeros(1, 2)
    distance = integrate_within(velocity, start, start, 0.5).norm(dim=-1)[0]
    assert distance[3000] - distance[-1] == pytest.approx(9 * 0.3 * 2**0.5 / 30, rel=1e-3)


def test_a_bounded_integral_continues_where_it_was_interrupted() -> None:
    velocity = torch.randn(1, 200, 2, generator=torch.Generator().manual_seed(0)).cumsum(1) / 10
    centre = torch.zeros(1, 2)
    whole = integrate_within(velocity, centre, centre, 0.4)
    second = integrate_within(velocity[:, 120:], whole[:, 120], centre, 0.4)
    torch.testing.assert_close(second, whole[:, 120:])
