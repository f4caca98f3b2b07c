"""Planted feet are held still, and all else stays as it was."""

import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mambatalk.motion.body import Body
from mambatalk.motion.clip import SmplxMotion
from mambatalk.motion.feet import BLEND, lock_feet, planted_feet
from mambatalk.motion.kinematics import foot_sliding_speed, pose_chain
from mambatalk.motion.rotations import axis_angle_to_matrix
from mambatalk.motion.skeleton import FOOT_JOINTS, FPS, LEG_CHAINS
from tests.helpers.motions import smooth_motion
from tests.helpers.stand_in_body import stand_in_body

LEFT_KNEE, RIGHT_KNEE = 4, 5
CHANGED = sorted(joint for leg in LEG_CHAINS for joint in leg[:3])


@pytest.fixture(scope="module")
def body() -> Body:
    return stand_in_body()


@pytest.fixture(scope="module")
def rest(body: Body) -> NDArray[np.float32]:
    return body.rest_joints(torch.zeros(300)).numpy()


def joints(motion: SmplxMotion, rest: NDArray[np.floating]) -> NDArray[np.float64]:
    rotations = axis_angle_to_matrix(torch.from_numpy(motion.poses).double().unflatten(-1, (55, 3)))
    rest_joints = torch.from_numpy(np.asarray(rest, np.float64)).expand(len(motion), -1, -1)
    _, posed = pose_chain(rotations, rest_joints)
    return posed.numpy() + motion.trans[:, None]


def feet_of(motion: SmplxMotion, rest: NDArray[np.floating]) -> NDArray[np.float64]:
    return joints(motion, rest)[:, FOOT_JOINTS]


def standing(frames: int = 150) -> SmplxMotion:
    """Return a person with bent knees who stands still and moves the upper body."""
    poses = smooth_motion(1, frames).poses.astype(np.float64).reshape(-1, 55, 3)
    poses[:, [0, *(joint for leg in LEG_CHAINS for joint in leg)]] = 0
    for hip, knee, ankle, _ in LEG_CHAINS:
        poses[:, [hip, knee, ankle], 0] = [-0.2, 0.4, -0.2]
    trans = np.tile([0.3, 1.3, -0.2], (frames, 1))
    return SmplxMotion(
        poses=poses.reshape(frames, -1), expressions=np.zeros((frames, 100)), trans=trans
    )


def sliding(frames: int = 150) -> SmplxMotion:
    """Return the standing person drifting sideways at 3 cm/s, with swaying hips and yaw."""
    motion = standing(frames)
    seconds = np.arange(frames) / FPS
    poses = motion.poses.reshape(-1, 55, 3).copy()
    poses[:, 0, 1] = 0.03 * np.sin(2 * seconds)
    poses[:, 1, 0] += 0.01 * np.sin(3 * seconds)
    trans = motion.trans.copy()
    trans[:, 0] += 0.03 * seconds
    trans[:, 1] += 0.003 * np.sin(5 * seconds)
    return replace(motion, poses=poses.reshape(frames, -1), trans=trans)


def stepping() -> SmplxMotion:
    """Return the sliding person, who lifts the left foot by 12 cm from 2 to 3 s."""
    motion = sliding()
    seconds = np.arange(len(motion)) / FPS
    lift = np.where(np.abs(seconds - 2.5) < 0.5, np.cos(np.pi * (seconds - 2.5)) ** 2, 0)
    poses = motion.poses.reshape(-1, 55, 3).copy()
    poses[:, 1, 0] -= 0.5 * lift
    poses[:, LEFT_KNEE, 0] += 1.0 * lift
    return replace(motion, poses=poses.reshape(len(motion), -1))


def test_a_foot_that_slides_while_planted_stands_still_after(rest: NDArray[np.float32]) -> None:
    motion = sliding()
    before, after = feet_of(motion, rest), feet_of(lock_feet(motion, rest), rest)
    assert foot_sliding_speed(before) > 0.02
    np.testing.assert_allclose(after, np.broadcast_to(after[:1], after.shape), atol=1e-6)
    np.testing.assert_allclose(after.mean(0)[:, 1], before.mean(0)[:, 1], atol=1e-3)


def test_a_motion_of_still_feet_is_unchanged(rest: NDArray[np.float32]) -> None:
    motion = standing()
    locked = lock_feet(motion, rest)
    np.testing.assert_allclose(locked.poses, motion.poses, atol=1e-6)
    np.testing.assert_allclose(locked.trans, motion.trans, atol=1e-6)
    again = lock_feet(lock_feet(sliding(), rest), rest)
    np.testing.assert_allclose(again.poses, lock_feet(sliding(), rest).poses, atol=1e-6)


def test_a_step_is_kept_and_both_feet_stand_around_it(rest: NDArray[np.float32]) -> None:
    motion = stepping()
    before, after = feet_of(motion, rest), feet_of(lock_feet(motion, rest), rest)
    assert np.ptp(before[:, 0, 1]) > 0.1
    np.testing.assert_allclose(np.ptp(after[:, 0, 1]), np.ptp(before[:, 0, 1]), atol=0.01)
    standing_right = np.ptp(after[:, (1, 3)], axis=0)
    np.testing.assert_allclose(standing_right, 0, atol=1e-6)
    for frames in (slice(0, 58), slice(92, None)):
        np.testing.assert_allclose(np.ptp(after[frames, 0], axis=0), 0, atol=1e-6)
    # No jump where a foot is lifted or put down.
    fastest = [
        np.linalg.norm(np.diff(feet, n=2, axis=0), axis=-1).max() for feet in (before, after)
    ]
    assert fastest[1] < 1.5 * fastest[0]


def test_the_root_goes_as_far_in_a_step_as_its_velocity_says(rest: NDArray[np.float32]) -> None:
    """The legs follow: decoded ones stretch too little, as those here, which do not at all."""
    motion = stepping()
    seconds = np.arange(len(motion)) / FPS
    way = 0.04 * (1 - np.cos(np.pi * np.clip(seconds - 2, 0, 1))) / 2
    trans = standing().trans + way[:, None] * [0, 0, 1]
    locked = lock_feet(replace(motion, trans=trans), rest)
    assert locked.trans[100, 2] - locked.trans[50, 2] == pytest.approx(0.04, abs=0.01)
    standing_right = np.ptp(feet_of(locked, rest)[:, (1, 3)], axis=0)
    np.testing.assert_allclose(standing_right, 0, atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_only_legs_and_translation_change(seed: int, rest: NDArray[np.float32]) -> None:
    motion = smooth_motion(seed, scale=0.05)
    locked = lock_feet(motion, rest)
    others = np.delete(np.arange(55), CHANGED)
    before, after = (m.poses.reshape(-1, 55, 3)[:, others] for m in (motion, locked))
    np.testing.assert_array_equal(after, before)
    np.testing.assert_array_equal(locked.expressions, motion.expressions)
    assert (locked.poses.dtype, locked.trans.dtype) == (motion.poses.dtype, motion.trans.dtype)
    np.testing.assert_allclose(
        locked.trans[
            0,
            (0, 2),
        ],
        motion.trans[
            0,
            (0, 2),
        ],
        atol=1e-5,
    )
    assert np.isfinite(locked.poses).all()
    np.testing.assert_array_equal(lock_feet(motion, rest).poses, locked.poses)


@pytest.mark.parametrize("rise", [0.0, 0.1, 1.0])
def test_legs_never_overstretch_and_knees_keep_their_direction(
    rise: float, rest: NDArray[np.float32]
) -> None:
    # Hips that lean far to one side take a straight leg out of reach of its foot.
    motion = sliding()
    poses = motion.poses.reshape(-1, 55, 3).copy()
    poses[:, [1, 2, 4, 5, 7, 8], 0] *= 0.1
    poses[:, 0, 2] = 0.15 * rise * np.sin(np.arange(len(motion)) / 40)
    locked = lock_feet(replace(motion, poses=poses.reshape(len(motion), -1)), rest)
    posed = joints(locked, rest)
    for hip, knee, ankle, _ in LEG_CHAINS:
        thigh, shin = posed[:, knee] - posed[:, hip], posed[:, ankle] - posed[:, knee]
        assert np.cross(thigh, shin)[:, 0].min() > 0
    bends = locked.poses.reshape(-1, 55, 3)[:, [LEFT_KNEE, RIGHT_KNEE]]
    np.testing.assert_allclose(bends[..., 1:], 0, atol=1e-9)


def test_the_knee_of_a_twisted_leg_turns_about_its_own_axis(rest: NDArray[np.float32]) -> None:
    motion = sliding()
    poses = motion.poses.reshape(-1, 55, 3).copy()
    poses[:, RIGHT_KNEE] = [0.4, 0.1, 0.05]
    before = replace(motion, poses=poses.reshape(len(motion), -1))
    locked = lock_feet(before, rest)
    after = feet_of(locked, rest)
    np.testing.assert_allclose(after, np.broadcast_to(after[:1], after.shape), atol=1e-6)
    turns = (
        Rotation.from_rotvec(locked.poses.reshape(-1, 55, 3)[:, RIGHT_KNEE])
        * Rotation.from_rotvec(poses[:, RIGHT_KNEE]).inv()
    )
    np.testing.assert_allclose(turns.as_rotvec()[:, 1:], 0, atol=1e-9)


def test_on_a_body_of_other_size_feet_slide_far_less_than_before(
    body: Body, rest: NDArray[np.float32]
) -> None:
    betas = torch.zeros(300)
    betas[0] = 2.0
    other = body.rest_joints(betas).numpy()
    assert np.abs(other - rest).max() > 0.01
    motion = sliding()
    before = foot_sliding_speed(feet_of(motion, other))
    after = foot_sliding_speed(feet_of(lock_feet(motion, rest), other))
    assert after < 0.2 * before


@pytest.mark.parametrize("frames", [1, 2, 3, 5, 6, 7, 10])
def test_short_clips_work(frames: int, rest: NDArray[np.float32]) -> None:
    locked = lock_feet(sliding(150)[:frames], rest)
    assert len(locked) == frames
    assert np.isfinite(locked.poses).all()
    if frames < 6:
        np.testing.assert_array_equal(locked.poses, sliding(150)[:frames].poses)


def test_a_clip_without_planted_feet_is_returned_as_it_is(rest: NDArray[np.float32]) -> None:
    motion = standing()
    running = motion.trans + np.arange(len(motion))[:, None] * [0.05, 0, 0]
    motion = replace(motion, trans=running)
    assert lock_feet(motion, rest) is motion


def test_a_foot_is_planted_where_it_is_low_and_slow_for_long_enough() -> None:
    feet = np.zeros((60, 2, 2, 3))
    feet[:, :, 0, 1] = 0.08
    feet[20:40, 0, :, 1] += 0.1
    feet[10:, 1, :, 0] += 0.3
    feet[13:, 1, :, 0] += 0.3
    planted = planted_feet(feet, FPS)
    # A frame is fast if the frame before or after it is elsewhere.
    in_the_air = np.arange(60)[~planted[:, 0]]
    np.testing.assert_array_equal(in_the_air, np.arange(19, 41))
    # Two jumps on the floor within 0.2 s are noise, not a step.
    assert planted[:, 1].all()


def test_a_foot_that_rests_for_a_moment_only_is_not_planted() -> None:
    feet = np.zeros((60, 2, 2, 3))
    feet[:, 0, :, 1] = 0.1
    feet[30:34, 0, :, 1] = 0.0
    assert not planted_feet(feet, FPS)[:, 0].any()


def test_two_minutes_take_less_than_a_few_seconds(rest: NDArray[np.float32]) -> None:
    motion = sliding(3600)
    began = time.process_time()
    lock_feet(motion, rest)
    assert time.process_time() - began < 5


def test_corrections_fade_within_the_blend(rest: NDArray[np.float32]) -> None:
    motion = stepping()
    locked = lock_feet(motion, rest)
    frames = round(BLEND * FPS)
    middle = slice(62 + frames, 88 - frames)
    # In the air the leg moves as it was generated.
    hips_and_knees = [3, 3 * LEFT_KNEE]
    np.testing.assert_allclose(
        locked.poses[middle, hips_and_knees], motion.poses[middle, hips_and_knees], atol=0.02
    )
