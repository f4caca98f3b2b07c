"""Where a clip starts from when nobody gives a pose."""

import numpy as np
import torch
from torch import Tensor

from mambatalk.features.store import FeatureStore
from mambatalk.motion.rotations import axis_angle_to_6d, matrix_from_6d, matrix_to_6d
from mambatalk.motion.skeleton import (
    CONTACT,
    JOINT_COUNT,
    JOINTS,
    MOTION_DIM,
    POSE_DIM,
    TRANSLATION,
)

PELVIS_HEIGHT = 1.30
"""Mean height (m) of the translation in BEATX's speaker 2."""


def mean_rest(store: FeatureStore) -> Tensor:
    """Mean training pose as motion (337,): feet planted, at the mean height, in the middle of the
    room.
    """
    total, frames = np.zeros(MOTION_DIM), 0
    for clip in store.of_split("train"):
        motion = store.motion[store.frames(clip)]
        total += motion.sum(0, dtype=np.float64)
        frames += len(motion)
    mean = torch.from_numpy((total / frames).astype(np.float32))
    rotations = matrix_to_6d(
        matrix_from_6d(mean[:POSE_DIM].unflatten(-1, (JOINT_COUNT, 6)))
    ).flatten()
    return _standing(rotations, float(mean[TRANSLATION][1]))


def arms_down() -> Tensor:
    """Motion (337,) of a person who stands with the arms hanging: a T-pose with lowered
    shoulders.
    """
    pose = torch.zeros(JOINT_COUNT, 3)
    pose[JOINTS.index("left_shoulder"), 2] = -1.2
    pose[JOINTS.index("right_shoulder"), 2] = 1.2
    return _standing(axis_angle_to_6d(pose).flatten(), PELVIS_HEIGHT)


def _standing(rotations: Tensor, height: float) -> Tensor:
    motion = torch.zeros(MOTION_DIM)
    motion[:POSE_DIM] = rotations
    motion[TRANSLATION] = torch.tensor([0.0, height, 0.0])
    motion[CONTACT] = 1
    return motion
