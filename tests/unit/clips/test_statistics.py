"""The speed of joints equals the geodesic distance of the library roma."""

import numpy as np
import pytest
import roma
import torch

from mambatalk.clips.statistics import joint_speed


@pytest.mark.parametrize("size", [1e-6, 1e-3, 1.0, 6.0])
def test_the_speed_is_the_angle_between_frames(size: float) -> None:
    poses = size * np.random.default_rng(0).standard_normal((50, 165)).astype(np.float32)
    turns = roma.rotvec_to_rotmat(torch.from_numpy(poses).double().unflatten(-1, (55, 3)))
    expected = roma.rotmat_geodesic_distance(turns[1:], turns[:-1]) * 30
    np.testing.assert_allclose(joint_speed(poses), expected.numpy(), rtol=1e-5, atol=1e-9)


def test_a_still_pose_has_no_speed_and_half_a_turn_is_the_maximum() -> None:
    still = np.repeat(np.random.default_rng(0).standard_normal((1, 165)), 9, axis=0).astype(
        np.float32
    )
    assert joint_speed(still).max() < 1e-6
    assert joint_speed(still[:1]).shape == (0, 55)
    assert (
        joint_speed(np.stack([np.zeros(165), np.tile([np.pi, 0, 0], 55)]).astype(np.float32)).max()
        <= 30 * np.pi
    )
