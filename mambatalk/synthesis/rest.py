"""Where a clip starts if no motion is given, how far it may go from there, and on what body."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mambatalk.motion.rotations import axis_angle_to_6d, matrix_from_6d, matrix_to_6d
from mambatalk.motion.skeleton import (
    CONTACT,
    JOINT_COUNT,
    JOINTS,
    MOTION_DIM,
    POSE_DIM,
    TRANSLATION,
)

if TYPE_CHECKING:
    from mambatalk.features.store import FeatureStore

TRANSLATION_HEIGHT = 1.30
"""Mean height (m) of the translation in BEATX's speaker 2. The pelvis is lower."""


def mean_rest(store: "FeatureStore") -> Tensor:
    """Return the mean training pose as motion (337,).

    Feet are planted, the translation has its mean height, and x and z are 0.
    """
    total = np.zeros(MOTION_DIM)
    frames = 0
    for clip in store.clips_in_split("train"):
        motion = store.motion[store.frames(clip)]
        total += motion.sum(0, dtype=np.float64)
        frames += len(motion)
    mean = torch.from_numpy((total / frames).astype(np.float32))
    # A mean of 6D rotations is not orthonormal.
    rotations = matrix_from_6d(mean[:POSE_DIM].unflatten(-1, (JOINT_COUNT, 6)))
    height = float(mean[TRANSLATION][1])
    return _standing(matrix_to_6d(rotations).flatten(), height)


def farthest(store: "FeatureStore") -> float:
    """Return the farthest that a training clip goes from its first frame in x and z, metres."""
    distances = [0.0]
    for clip in store.clips_in_split("train"):
        plane = store.motion[store.frames(clip), TRANSLATION][:, [0, 2]]
        distances.append(float(np.linalg.norm(plane - plane[0], axis=1).max()))
    return max(distances)


def mean_betas(store: "FeatureStore") -> Tensor:
    """Return the mean shape (300,) of the bodies of the training clips."""
    betas = [clip.betas for clip in store.clips_in_split("train")]
    return torch.from_numpy(np.mean(betas, axis=0, dtype=np.float64).astype(np.float32))


def arms_down() -> Tensor:
    """Return a T-pose with lowered arms as motion (337,)."""
    pose = torch.zeros(JOINT_COUNT, 3)
    pose[JOINTS.index("left_shoulder"), 2] = -1.2
    pose[JOINTS.index("right_shoulder"), 2] = 1.2
    return _standing(axis_angle_to_6d(pose).flatten(), TRANSLATION_HEIGHT)


def _standing(rotations: Tensor, height: float) -> Tensor:
    motion = torch.zeros(MOTION_DIM)
    motion[:POSE_DIM] = rotations
    motion[TRANSLATION] = torch.tensor([0.0, height, 0.0])
    motion[CONTACT] = 1
    return motion
