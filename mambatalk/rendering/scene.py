"""Draw the frames of one motion."""

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
from mambatalk.rendering.background import draw_background, draw_shadow
from mambatalk.rendering.camera import Camera, frame_figure
from mambatalk.rendering.figure import Colour, Surface, draw_figure, palette

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]

OVERSAMPLING = 2
"""Figures are drawn this many times larger and averaged, which smooths their edges."""
CHUNK = 32
"""Frames skinned at a time, which bounds the memory for vertices."""
FRAMING_FRAMES = 24
"""Frames from which the extent of a motion is measured."""
SMALLEST_REACH = 0.45
"""Metres to each side that are visible in any case."""
SIDE_MARGIN = 0.08
"""Metres around the motion."""


@dataclass(frozen=True)
class Box:
    """Extent of a motion in metres, relative to its mean place on the floor."""

    centre: Floats
    """Mean place (3,) with height 0."""
    low: Floats
    high: Floats


class Scene:
    """Draws the frames of one motion.

    Args:
        motion: The motion to draw.
        body: Body model that gives the mesh.

    """

    def __init__(self, motion: SmplxMotion, body: Body) -> None:
        self.motion = motion
        self.body = body
        self.betas = torch.tensor(np.asarray(motion.betas, np.float32))
        self.surface = Surface(body.faces.cpu().numpy(), body.vertex_count)
        # The stand-in body has vertices that no face uses.
        self._used_vertices = np.unique(self.surface.faces)

    @torch.no_grad()
    def vertices(self, frames: NDArray[np.int64]) -> Iterator[Floats]:
        """Yield the vertices (V, 3) in metres at each of the given frames."""
        for start in range(0, len(frames), CHUNK):
            rows = frames[start : start + CHUNK]
            poses, expressions, trans = (
                torch.tensor(np.asarray(array[rows], np.float32))
                for array in (self.motion.poses, self.motion.expressions, self.motion.trans)
            )
            rotations = axis_angle_to_matrix(poses.view(-1, JOINT_COUNT, 3))
            betas = self.betas.expand(len(rows), -1)
            yield from self.body.vertices(rotations, betas, expressions, trans=trans).numpy()

    def floor(self) -> float:
        """Return the height of the floor in metres: the median of the lowest points."""
        lowest = [mesh[self._used_vertices, 1].min() for mesh in self.vertices(self._sampled())]
        return float(np.median(lowest))

    def box(self) -> Box:
        """Return the extent of the motion."""
        meshes = np.stack([mesh[self._used_vertices] for mesh in self.vertices(self._sampled())])
        centre = self.motion.trans.mean(axis=0) * np.array([1, 0, 1], np.float32)
        return Box(centre, meshes.min((0, 1)) - centre, meshes.max((0, 1)) - centre)

    def pictures(
        self,
        frames: NDArray[np.int64],
        *,
        centre: Floats,
        camera: Camera,
        floor: float,
        colour: Colour,
    ) -> Iterator[Picture]:
        """Yield the pictures (height, width, 3) of the given frames.

        Args:
            frames: Frame numbers.
            centre: Point (3,) of the scene that is moved to the middle.
            camera: Camera, whose picture is larger by the factor OVERSAMPLING.
            floor: Height of the floor in metres.
            colour: Colour of the figure.

        """
        background = draw_background(camera, floor)
        colours = palette(colour)
        for mesh in self.vertices(frames):
            picture = background.copy()
            placed = mesh - centre
            draw_shadow(picture, placed[self._used_vertices], camera, floor)
            draw_figure(picture, placed, self.surface, camera, colours)
            yield np.asarray(Image.fromarray(picture).reduce(OVERSAMPLING))

    def _sampled(self) -> NDArray[np.int64]:
        """Return frame numbers spread over the clip."""
        last = len(self.motion) - 1
        return np.unique(np.linspace(0, last, FRAMING_FRAMES).astype(np.int64))


def shared_camera(boxes: list[Box], floor: float, *, width: int, height: int) -> Camera:
    """Place one camera for several figures, so that their sizes can be compared.

    Args:
        boxes: Extents of the motions.
        floor: Height of the floor in metres.
        width: Width of the final pictures in pixels.
        height: Height of the final pictures in pixels.

    """
    low = np.min([box.low for box in boxes], axis=0)
    high = np.max([box.high for box in boxes], axis=0)
    reach = max(-low[0], high[0], SMALLEST_REACH) + SIDE_MARGIN
    low = np.array([-reach, min(low[1], floor), low[2]], np.float32)
    high = np.array([reach, high[1] + SIDE_MARGIN, high[2]], np.float32)
    return frame_figure(low, high, width=width * OVERSAMPLING, height=height * OVERSAMPLING)
