"""One figure: the whole body on the floor, and beside it close-ups of face and hands.

+------------+------+    +------------------------+-------------+
|            | face |    |                        |             |
|            +------+    |                        |    face     |
|    body    | right|    |          body          |             |
|            | hand |    |                        |             |
|            +------+    |                        +------+------+
|            | left |    |                        | right| left |
|            | hand |    |                        | hand | hand |
+------------+------+    +------------------------+------+------+
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mambatalk.rendering.background import Ground, backdrop, draw_shadow
from mambatalk.rendering.bands import PAPER, Note
from mambatalk.rendering.camera import Camera, close_up_camera, figure_camera, follow
from mambatalk.rendering.figure import Colour, Paint, SurfacePart, draw_figure
from mambatalk.rendering.scene import Scene

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]

BODY_WIDTH: Final = 0.7
GAP: Final = 0.0125
"""Sizes relative to the height of the panel."""
WIDE: Final = 1.5
"""Width relative to the height from which there is room for a larger face."""
NOTE_HEIGHT: Final = 160
"""Height in pixels of a small close-up whose name is 12 pixels high."""
BODY_SLACK: Final = 0.1
BODY_SMOOTHING: Final = 0.5
"""Metres and seconds. The camera follows steps, and stands still while the body sways."""
FACE_SLACK: Final = 0.02
FACE_SMOOTHING: Final = 0.25
"""Metres and seconds. The camera follows a swaying body, and a nod stays visible."""


@dataclass(frozen=True)
class CloseUp:
    """What a close-up shows.

    Args:
        name: Printed in its corner.
        extent: Metres from its lower to its upper edge.
        target: Joints whose mean position is in the middle.
        followed_exactly: Whether they never leave the middle. Hands are too fast for less.
        drawn: Joints whose surface is drawn. The rest of the body would hide a hand.

    """

    name: str
    extent: float
    target: tuple[str, ...]
    followed_exactly: bool
    drawn: tuple[str, ...]


def _hand(side: str) -> CloseUp:
    fingers = ("index", "middle", "pinky", "ring", "thumb")
    joints = ["elbow", "wrist", *(f"{finger}{k}" for finger in fingers for k in (1, 2, 3))]
    drawn = tuple(f"{side}_{joint}" for joint in joints)
    return CloseUp(f"{side} hand", 0.27, (f"{side}_middle1",), True, drawn)


_HEAD: Final = ("head", "jaw", "left_eye", "right_eye", "neck")
_CHEST: Final = ("spine3", "left_collar", "right_collar", "left_shoulder", "right_shoulder")
CLOSE_UPS: Final = (
    CloseUp("face", 0.34, ("left_eye", "right_eye"), False, (*_HEAD, *_CHEST)),
    _hand("right"),
    _hand("left"),
)


class Panel:
    """Draws the frames of one motion: the body, and close-ups of face and hands.

    Args:
        scene: The motion.
        colour: Colour of the figure.
        floor: Height of the floor in metres.
        stature: Height in metres of the figure that fills two thirds of the picture.
        height: Height of the panel in pixels.
        width: Width of the panel in pixels. If None, that of a figure with its arms held out.

    """

    def __init__(
        self,
        scene: Scene,
        *,
        colour: Colour,
        floor: float,
        stature: float,
        height: int,
        width: int | None = None,
    ) -> None:
        self.gap = gap = even(GAP * height)
        self.height = height
        side = (height - 2 * gap) // 3
        self.width = width or even(BODY_WIDTH * height + gap + side)
        large = 2 * side + gap
        wide = self.width > WIDE * height
        self.body_width = self.width - gap - (large if wide else side)

        self._scene = scene
        self._paint = Paint(colour, scene.gaze())
        self._whole = scene.surface.part(np.ones(scene.body.vertex_count, np.bool_))
        self._areas = scene.surface.areas(scene.rest_vertices())
        # The camera follows the figure over the floor and stays at one height above it.
        self._places = follow(scene.path(["pelvis"]), slack=BODY_SLACK, smoothing=BODY_SMOOTHING)
        self._places[:, 1] = floor

        self._camera = figure_camera(stature, width=self.body_width, height=height)
        self._ground = Ground(self._camera)
        left = self.body_width + gap
        below = side + gap
        corners = [(left, 0), (left, below), (left, 2 * below)]
        if wide:
            corners = [(left, 0), (left, 2 * below), (left + below, 2 * below)]
        sides = [large if wide else side, side, side]
        self._close_ups = [
            _CloseUpView(close_up, scene, corner=corner, side=pixels, note_scale=side / NOTE_HEIGHT)
            for close_up, corner, pixels in zip(CLOSE_UPS, corners, sides, strict=True)
        ]

    def meshes(self, frames: NDArray[np.int64]) -> Iterator[Floats]:
        """Yield the vertices (V, 3) of the given frames, which `draw` takes."""
        return self._scene.vertices(frames)

    def draw(self, frame: np.int64, vertices: Floats) -> Picture:
        """Draw a frame (height, width, 3). Several threads may draw at the same time."""
        normals = self._scene.surface.normals(vertices)
        panel = np.full((self.height, self.width, 3), PAPER, np.uint8)
        panel[:, : self.body_width] = self._body(vertices, normals, self._places[frame])
        for view in self._close_ups:
            view.draw(panel, frame, vertices, normals, self._paint)
        return panel

    def pictures(self, frames: NDArray[np.int64]) -> Iterator[Picture]:
        """Yield the pictures (height, width, 3) of the given frames."""
        for frame, vertices in zip(frames, self.meshes(frames), strict=True):
            yield self.draw(frame, vertices)

    def _body(self, vertices: Floats, normals: Floats, place: Floats) -> Picture:
        placed = vertices - place
        picture = self._ground.at(place)
        draw_shadow(picture, placed, self._areas, self._camera)
        draw_figure(picture, placed, normals, self._whole, self._camera, self._paint, floor=True)
        return picture


class _CloseUpView:
    """Draws one close-up of a motion.

    Args:
        close_up: What it shows.
        scene: The motion.
        corner: Left and upper edge in the panel in pixels.
        side: Width and height in pixels.
        note_scale: Size of its name, as in `Note`.

    """

    def __init__(
        self,
        close_up: CloseUp,
        scene: Scene,
        *,
        corner: tuple[int, int],
        side: int,
        note_scale: float,
    ) -> None:
        self._camera: Camera = close_up_camera(close_up.extent, width=side, height=side)
        self._part: SurfacePart = scene.part(close_up.drawn)
        self._path = scene.path(close_up.target)
        if not close_up.followed_exactly:
            self._path = follow(self._path, slack=FACE_SLACK, smoothing=FACE_SMOOTHING)
        self._background = backdrop(side, side)
        self._note = Note(close_up.name, scale=note_scale)
        left, top = corner
        self._place = (slice(top, top + side), slice(left, left + side))

    def draw(
        self, panel: Picture, frame: np.int64, vertices: Floats, normals: Floats, paint: Paint
    ) -> None:
        picture = panel[self._place]
        picture[:] = self._background
        placed = vertices - self._path[frame]
        draw_figure(picture, placed, normals, self._part, self._camera, paint, floor=False)
        self._note.write(picture)


def even(pixels: float) -> int:
    """Round to an even number of pixels, which H.264 with 4:2:0 chroma requires."""
    return 2 * round(pixels / 2)
