"""One figure in its room, ready to be drawn at any frame."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from mambatalk.motion.body import Body
from mambatalk.motion.clip import SmplxMotion
from mambatalk.motion.rotations import axis_angle_to_matrix
from mambatalk.motion.skeleton import JOINT_COUNT
from mambatalk.rendering.camera import Camera, frame_figure
from mambatalk.rendering.figure import Colour, Surface, draw_figure, palette
from mambatalk.rendering.studio import draw_shadow, empty_studio

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]

OVERSAMPLING = 2
"""Figures are drawn this many times larger and averaged, which smooths their edges."""
CHUNK = 32
"""Frames skinned at a time."""
LOOKS = 24
"""Frames looked at to frame a figure."""
AROUND = 0.16
"""Metres of flesh and fingers around the joints."""


@dataclass(frozen=True)
class Box:
    """Where a motion takes place, metres, as seen from its mean place on the floor."""

    centre: Floats
    """(3,), height 0."""
    low: Floats
    high: Floats


class Scene:
    """Draws the frames of one motion.

    Args:
        motion: What is drawn.
        body: Whose mesh.

    """

    def __init__(self, motion: SmplxMotion, body: Body) -> None:
        self.motion, self.body = motion, body
        self.betas = torch.tensor(np.asarray(motion.betas, np.float32))
        self.surface = Surface(body.faces.cpu().numpy(), body.vertex_count)
        self._seen = np.unique(self.surface.faces)

    @torch.no_grad()
    def vertices(self, picked: NDArray[np.int64]) -> Iterator[Floats]:
        """The mesh (V, 3) at each of the frames picked."""
        for start in range(0, len(picked), CHUNK):
            rows = picked[start : start + CHUNK]
            poses, expressions, trans = (
                torch.tensor(np.asarray(array[rows], np.float32))
                for array in (self.motion.poses, self.motion.expressions, self.motion.trans)
            )
            rotations = axis_angle_to_matrix(poses.view(-1, JOINT_COUNT, 3))
            yield from self.body.vertices(
                rotations, self.betas.expand(len(rows), -1), expressions, trans=trans
            ).numpy()

    def looks(self) -> NDArray[np.int64]:
        """Frames spread over the clip."""
        return np.unique(np.linspace(0, len(self.motion) - 1, LOOKS).astype(np.int64))

    def floor(self) -> float:
        """Height of the ground in metres: where the lowest points of the mesh mostly are."""
        return float(np.median([mesh[self._seen, 1].min() for mesh in self.vertices(self.looks())]))

    def box(self) -> Box:
        """Extent of the motion around its mean place."""
        meshes = np.stack([mesh[self._seen] for mesh in self.vertices(self.looks())])
        centre = self.motion.trans.mean(axis=0) * np.array([1, 0, 1], np.float32)
        return Box(centre, meshes.min((0, 1)) - centre, meshes.max((0, 1)) - centre)

    def shots(
        self,
        picked: NDArray[np.int64],
        *,
        centre: Floats,
        camera: Camera,
        floor: float,
        colour: Colour,
    ) -> Iterator[Picture]:
        """Pictures (height, width, 3) at the frames picked, `centre` moved to the middle."""
        room, shades = empty_studio(camera, floor), palette(colour)
        for mesh in self.vertices(picked):
            picture = room.copy()
            placed = mesh - centre
            draw_shadow(picture, placed[self._seen], camera, floor)
            draw_figure(picture, placed, self.surface, camera, shades)
            yield np.asarray(Image.fromarray(picture).reduce(OVERSAMPLING))


def shared_camera(boxes: list[Box], floor: float, *, width: int, height: int) -> Camera:
    """One camera for figures side by side, so that sizes compare; pictures come out at `width` by
    `height`.
    """
    low, high = (
        np.min([box.low for box in boxes], axis=0),
        np.max([box.high for box in boxes], axis=0),
    )
    reach = max(-low[0], high[0], 0.45) + 0.5 * AROUND
    low = np.array([-reach, min(low[1], floor), low[2]], np.float32)
    high = np.array([reach, high[1] + 0.5 * AROUND, high[2]], np.float32)
    return frame_figure(low, high, width=width * OVERSAMPLING, height=height * OVERSAMPLING)
