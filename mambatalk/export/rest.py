"""What all exporters share: the skeleton of a body at rest, and rotations of its joints."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mambatalk.motion.body import Body
from mambatalk.motion.clip import SmplxMotion
from mambatalk.motion.skeleton import JOINT_COUNT, PARENTS

Floats = NDArray[np.floating[Any]]


def rest_joints(body: Body, motion: SmplxMotion) -> NDArray[np.float64]:
    """Return the joints (55, 3) in metres of a motion's body in its T-pose."""
    betas = torch.tensor(np.asarray(motion.betas, np.float32))
    with torch.no_grad():
        joints = body.rest_joints(betas.to(body.v_template)).cpu().numpy()
    return np.asarray(joints, np.float64)


def bone_offsets(joints: Floats) -> NDArray[np.float64]:
    """Return the place of each joint (55, 3) relative to its parent; zero at the root."""
    offsets = np.asarray(joints, np.float64).copy()
    offsets[1:] -= joints[list(PARENTS[1:])]
    offsets[0] = 0
    return offsets


def local_rotations(motion: SmplxMotion) -> Rotation:
    """Return the rotations of all joints of all frames, (n * 55,) joint by joint."""
    poses = np.asarray(motion.poses, np.float64)
    return Rotation.from_rotvec(poses.reshape(len(motion) * JOINT_COUNT, 3))
