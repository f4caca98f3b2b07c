"""What each metric looks at: a clip's motion as joints, face vertices and 6D poses, posed as the
metric wants it.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mambatalk.motion.body import JAW, Body
from mambatalk.motion.clip import SmplxMotion
from mambatalk.motion.rotations import axis_angle_to_matrix, matrix_to_6d
from mambatalk.motion.skeleton import JOINT_COUNT, JOINTS

EYES = (JOINTS.index("left_eye"), JOINTS.index("right_eye"))
ROOT = 0
CHUNK = 512
"""Frames posed at a time."""


@dataclass(frozen=True)
class Posed:
    """A motion on a body at the origin."""

    joints: Tensor
    """(n, 55, 3) metres."""
    joints_evaltools: Tensor
    """The same with root and jaw at rest."""
    face: Tensor
    """Vertices (n, F, 3) in metres moved by jaw and expressions alone."""
    pose: Tensor
    """6D (n, 330)."""
    pose_without_eyes: Tensor
    """6D (n, 330) with the eyes at rest, since no method here moves them."""


class Poser:
    """Poses motions of any length on one body, a few hundred frames at a time."""

    def __init__(self, body: Body) -> None:
        self.body = body
        self.subset = body.moved_by_face().nonzero().squeeze(1)
        self.still = body.vertex_count - len(self.subset)
        """Vertices that neither jaw nor expressions move."""

    @torch.no_grad()
    def pose(self, motion: SmplxMotion, betas: NDArray[np.floating]) -> Posed:
        """Pose a motion on the body shape betas (300,), which may be that of another clip."""
        shape, poses, expressions = (
            torch.tensor(np.asarray(array), dtype=torch.float32)
            for array in (betas, motion.poses, motion.expressions)
        )
        rotations = axis_angle_to_matrix(poses.view(-1, JOINT_COUNT, 3))
        rest = self.body.rest_joints(shape)
        return Posed(
            joints=self.body.joints(rotations, rest),
            joints_evaltools=self.body.joints(_at_rest(rotations, (ROOT, JAW)), rest),
            face=self._face(rotations[:, JAW], shape, expressions),
            pose=matrix_to_6d(rotations).flatten(1),
            pose_without_eyes=matrix_to_6d(_at_rest(rotations, EYES)).flatten(1),
        )

    def _face(self, jaw: Tensor, betas: Tensor, expressions: Tensor) -> Tensor:
        blocks = []
        for block, shapes in zip(jaw.split(CHUNK), expressions.split(CHUNK), strict=True):
            rotations = torch.eye(3).repeat(len(block), JOINT_COUNT, 1, 1)
            rotations[:, JAW] = block
            blocks.append(
                self.body.vertices(
                    rotations, betas.expand(len(block), -1), shapes, subset=self.subset
                )
            )
        return torch.cat(blocks)


def _at_rest(rotations: Tensor, joints: tuple[int, ...]) -> Tensor:
    changed = rotations.clone()
    changed[:, list(joints)] = torch.eye(3)
    return changed
