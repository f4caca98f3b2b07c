"""BVH: two independent readers find the joints where smplx puts them."""

from pathlib import Path

import bvhio
import numpy as np
import pybvh
import pytest
import smplx
import torch
from numpy.typing import NDArray

from mambatalk.export.bvh import write_bvh
from mambatalk.motion.clip import SmplxMotion
from mambatalk.motion.skeleton import JOINT_COUNT, JOINTS
from tests.helpers.motions import smooth_motion
from tests.helpers.stand_in_body import stand_in_body, stand_in_file

TOLERANCE = 1e-3
"""Metres."""


def motion_of_a_tall_person(frames: int = 90) -> SmplxMotion:
    """Return motion with rotations of up to a turn, by a body that is not the mean one."""
    motion = smooth_motion(3, frames, scale=1.5)
    betas = np.zeros(300, np.float32)
    betas[:2] = 2, -1
    return SmplxMotion(
        poses=motion.poses, expressions=motion.expressions, trans=motion.trans, betas=betas
    )


def smplx_joints(motion: SmplxMotion) -> NDArray[np.float32]:
    """Return the joints (n, 55, 3) in metres that the package smplx computes."""
    model = smplx.SMPLX(
        str(stand_in_file()),
        use_pca=False,
        flat_hand_mean=True,
        num_betas=300,
        num_expression_coeffs=100,
        ext="npz",
    )
    poses = torch.from_numpy(motion.poses)
    with torch.no_grad():
        result = model(
            betas=torch.from_numpy(motion.betas).expand(len(poses), -1),
            expression=torch.zeros(len(poses), 100),
            global_orient=poses[:, :3],
            body_pose=poses[:, 3:66],
            jaw_pose=poses[:, 66:69],
            leye_pose=poses[:, 69:72],
            reye_pose=poses[:, 72:75],
            left_hand_pose=poses[:, 75:120],
            right_hand_pose=poses[:, 120:165],
            transl=torch.from_numpy(motion.trans),
        )
    return np.asarray(result.joints[:, :JOINT_COUNT].numpy())


@pytest.fixture(scope="module")
def motion() -> SmplxMotion:
    return motion_of_a_tall_person()


@pytest.fixture(scope="module")
def file(motion: SmplxMotion, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bvh")
    # From npz, as a user would.
    motion.write(folder / "a.npz")
    path = folder / "a.bvh"
    write_bvh(path, SmplxMotion.read(folder / "a.npz"), stand_in_body())
    return path


def test_pybvh_finds_the_joints_where_smplx_puts_them(motion: SmplxMotion, file: Path) -> None:
    clip = pybvh.read_bvh_file(str(file))
    assert sorted(clip.joint_names) == sorted(JOINTS)
    assert clip.frame_time == pytest.approx(1 / 30)
    order = [clip.joint_names.index(name) for name in JOINTS]
    joints = clip.joint_positions()[:, order] / 100
    np.testing.assert_allclose(joints, smplx_joints(motion), atol=TOLERANCE)


def test_bvhio_finds_the_joints_where_smplx_puts_them(motion: SmplxMotion, file: Path) -> None:
    root = bvhio.readAsHierarchy(str(file))
    expected = smplx_joints(motion)
    for frame in (0, 41, len(motion) - 1):
        root.loadPose(frame)
        found = {joint.Name: joint.PositionWorld for joint, *_ in root.layout()}
        joints = np.array([list(found[name]) for name in JOINTS]) / 100
        np.testing.assert_allclose(joints, expected[frame], atol=TOLERANCE)


def test_angles_do_not_jump_by_full_turns(file: Path) -> None:
    lines = file.read_text().splitlines()
    rows = np.array([line.split() for line in lines[lines.index("MOTION") + 3 :]], float)
    assert rows.shape == (90, 3 + 3 * JOINT_COUNT)
    assert np.abs(np.diff(rows[:, 3:], axis=0)).max() <= 180


def test_long_motion_is_written_in_pieces_that_join(tmp_path: Path) -> None:
    motion = smooth_motion(1, 1100)
    write_bvh(tmp_path / "long.bvh", motion, stand_in_body())
    clip = pybvh.read_bvh_file(str(tmp_path / "long.bvh"))
    assert clip.frame_count == 1100
    assert np.abs(np.diff(clip.joint_angles, axis=0)).max() <= 180
