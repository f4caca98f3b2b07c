"""The meshes of one motion, frame by frame, and the places that cameras follow."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from mambatalk.motion.body import Body
from mambatalk.motion.clip import SmplxMotion
from mambatalk.motion.rotations import axis_angle_to_matrix
from mambatalk.motion.skeleton import JOINT_COUNT, JOINTS
from mambatalk.rendering.figure import Surface, SurfacePart

Floats = NDArray[np.float32]

CHUNK = 32
"""Frames skinned at a time, which bounds the memory for vertices."""
FLOOR_FRAMES = 24
"""Frames from which the height of the floor is measured."""


class Scene:
    """The meshes of one motion.

    Args:
        motion: The motion to draw.
        body: Body model that gives the mesh.

    """

    def __init__(self, motion: SmplxMotion, body: Body) -> None:
        self.motion = motion
        self.body = body
        self.betas = torch.tensor(np.asarray(motion.betas, np.float32))
        self.surface = Surface(body.faces.cpu().numpy(), body.vertex_count)
        self._joint_of_vertex = body.weights.argmax(dim=1).cpu().numpy()
        # The stand-in body has vertices that no face uses.
        self._used_vertices = np.unique(self.surface.faces)

    @torch.no_grad()
    def vertices(self, frames: NDArray[np.int64]) -> Iterator[Floats]:
        """Yield the vertices (V, 3) in metres at each of the given frames."""
        for start in range(0, len(frames), CHUNK):
            rows = frames[start : start + CHUNK]
            expressions, trans = (
                torch.tensor(np.asarray(array[rows], np.float32))
                for array in (self.motion.expressions, self.motion.trans)
            )
            betas = self.betas.expand(len(rows), -1)
            rotations = self._rotations(rows)
            yield from self.body.vertices(rotations, betas, expressions, trans=trans).numpy()

    def rest_vertices(self) -> Floats:
        """Return the vertices (V, 3) in metres of the rest pose."""
        vertices, _ = self.body.shape(self.betas[None])
        return np.asarray(vertices[0].numpy(), np.float32)

    def floor(self) -> float:
        """Return the height of the floor in metres: the median of the lowest points."""
        last = len(self.motion) - 1
        frames = np.unique(np.linspace(0, last, FLOOR_FRAMES).astype(np.int64))
        lowest = [mesh[self._used_vertices, 1].min() for mesh in self.vertices(frames)]
        return float(np.median(lowest))

    def stature(self) -> float:
        """Return the height of the standing figure in metres."""
        return float(np.ptp(self.rest_vertices()[self._used_vertices, 1]))

    @torch.no_grad()
    def path(self, joints: Iterable[str]) -> Floats:
        """Return the mean position (frames, 3) in metres of some joints over the whole motion.

        Args:
            joints: Names of SMPL-X joints.

        """
        indices = [JOINTS.index(name) for name in joints]
        rotations = self._rotations(np.arange(len(self.motion)))
        trans = torch.tensor(np.asarray(self.motion.trans, np.float32))
        positions = self.body.joints(rotations, self.body.rest_joints(self.betas), trans)
        return np.asarray(positions[:, indices].mean(dim=1).numpy(), np.float32)

    def part(self, joints: Iterable[str]) -> SurfacePart:
        """Return the faces of the mesh that follow mostly the given joints."""
        indices = [JOINTS.index(name) for name in joints]
        return self.surface.part(np.isin(self._joint_of_vertex, indices))

    def gaze(self) -> Floats:
        """Return how far from the direction of its eye each vertex (V,) is, as a cosine.

        In the rest pose both eyes look forwards, along z. Vertices outside of the eyes have NaN.
        """
        gaze = np.full(self.body.vertex_count, np.nan, np.float32)
        rest = self.rest_vertices()
        for joint in (JOINTS.index("left_eye"), JOINTS.index("right_eye")):
            eye = self._used_vertices[self._joint_of_vertex[self._used_vertices] == joint]
            middle = (rest[eye].min(axis=0) + rest[eye].max(axis=0)) / 2
            outwards = rest[eye] - middle
            gaze[eye] = outwards[:, 2] / np.linalg.norm(outwards, axis=1)
        return gaze

    def _rotations(self, frames: NDArray[np.int64]) -> torch.Tensor:
        poses = torch.tensor(np.asarray(self.motion.poses[frames], np.float32))
        return axis_angle_to_matrix(poses.view(-1, JOINT_COUNT, 3))
