"""Pose motion on a body in each of the forms that the metrics compare."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mambatalk.metrics.catalogue import MovingPart
from mambatalk.metrics.part_motion import part_motion
from mambatalk.motion.body import JAW, Body
from mambatalk.motion.clip import SmplxMotion
from mambatalk.motion.rotations import axis_angle_to_matrix, matrix_to_6d
from mambatalk.motion.skeleton import FOOT_JOINTS, JOINT_COUNT, JOINTS

EYES = (JOINTS.index("left_eye"), JOINTS.index("right_eye"))
ROOT = 0
CHUNK = 512
"""Frames whose faces are posed at a time, which bounds the memory for vertices."""


@dataclass(frozen=True)
class Posed:
    """A motion posed on a body.

    Joints and faces are at the origin, as in published metrics. `root` and `feet` are where the
    body stands.
    """

    joints: Tensor
    """Joints (n, 55, 3) in metres."""
    joints_evaltools: Tensor
    """Joints (n, 55, 3) in metres with root and jaw in the rest pose."""
    face: Tensor
    """Vertices (n, F, 3) in metres that jaw and expressions move, with the body in rest pose."""
    pose: Tensor
    """6D rotations (n, 330)."""
    pose_without_eyes: Tensor
    """6D rotations (n, 330) with the eyes in rest pose, because no method here generates them."""
    parts: dict[MovingPart, Tensor]
    """Rotations or points of each moving part, from `part_motion`."""
    root: Tensor
    """Position of the pelvis (n, 3) in metres."""
    feet: Tensor
    """Positions of ankles and feet (n, 4, 3) in metres."""


class Poser:
    """Poses motions of any length on one body."""

    def __init__(self, body: Body) -> None:
        self.body = body
        self.face_vertices = body.moved_by_face().nonzero().squeeze(1)
        self.still = body.vertex_count - len(self.face_vertices)
        """Number of vertices that neither jaw nor expressions move."""

    @torch.no_grad()
    def pose(self, motion: SmplxMotion, betas: NDArray[np.floating]) -> Posed:
        """Pose a motion on the body shape betas (300,), which may be that of another clip."""
        shape, poses, expressions, trans = (
            torch.tensor(np.asarray(array), dtype=torch.float32)
            for array in (betas, motion.poses, motion.expressions, motion.trans)
        )
        rotations = axis_angle_to_matrix(poses.view(-1, JOINT_COUNT, 3))
        rest = self.body.rest_joints(shape)
        joints = self.body.joints(rotations, rest)
        root = joints[:, ROOT] + trans
        return Posed(
            joints=joints,
            joints_evaltools=self.body.joints(_at_rest(rotations, (ROOT, JAW)), rest),
            face=self._face(rotations[:, JAW], shape, expressions),
            pose=matrix_to_6d(rotations).flatten(1),
            pose_without_eyes=matrix_to_6d(_at_rest(rotations, EYES)).flatten(1),
            parts=part_motion(rotations, expressions, root),
            root=root,
            feet=joints[:, FOOT_JOINTS] + trans.unsqueeze(1),
        )

    def _face(self, jaw: Tensor, betas: Tensor, expressions: Tensor) -> Tensor:
        chunks = []
        for jaws, faces in zip(jaw.split(CHUNK), expressions.split(CHUNK), strict=True):
            rotations = torch.eye(3).repeat(len(jaws), JOINT_COUNT, 1, 1)
            rotations[:, JAW] = jaws
            shapes = betas.expand(len(jaws), -1)
            chunks.append(self.body.vertices(rotations, shapes, faces, subset=self.face_vertices))
        return torch.cat(chunks)


def _at_rest(rotations: Tensor, joints: tuple[int, ...]) -> Tensor:
    """Return a copy of the rotations with some joints in the rest pose."""
    changed = rotations.clone()
    changed[:, list(joints)] = torch.eye(3)
    return changed
