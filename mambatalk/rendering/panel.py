"""One figure as the viewer sees it: the whole body on the floor, beside it face and hands closer.

+------------+------+
|            | face |
|            +------+
|    body    | right|
|            | hand |
|            +------+
|            | left |
|            | hand |
+------------+------+
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mambatalk.rendering.background import Ground, backdrop, draw_shadow
from mambatalk.rendering.bands import PAPER, write_note
from mambatalk.rendering.camera import Camera, close_up_camera, figure_camera, follow
from mambatalk.rendering.figure import Colour, Paint, SurfacePart, draw_figure
from mambatalk.rendering.scene import Scene

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]

OVERSAMPLING: Final = 2
"""Figures are drawn this many times larger and averaged, which smooths their edges."""
BODY_WIDTH: Final = 0.7
GAP: Final = 0.0125
"""Sizes relative to the height of the panel. Close-ups are square, three in a column."""
NOTE_HEIGHT: Final = 160
"""Height in pixels of a close-up whose name is 12 pixels high."""
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
    drawn = tuple(
        f"{side}_{name}"
        for name in ("elbow", "wrist", *(f"{finger}{k}" for finger in fingers for k in (1, 2, 3)))
    )
    return CloseUp(f"{side} hand", 0.27, (f"{side}_middle1",), True, drawn)


_HEAD: Final = ("head", "jaw", "left_eye", "right_eye", "neck")
_CHEST: Final = ("spine3", "left_collar", "right_collar", "left_shoulder", "right_shoulder")
CLOSE_UPS: Final = (
    CloseUp("face", 0.34, ("left_eye", "right_eye"), False, (*_HEAD, *_CHEST)),
    _hand("right"),
    _hand("left"),
)


class Panel:
    """Draws the frames of one motion: the body, and a column of close-ups.

    Args:
        scene: The motion.
        colour: Colour of the figure.
        floor: Height of the floor in metres.
        stature: Height in metres of the figure that fills two thirds of the picture.
        size: Height of the panel in pixels.

    """

    def __init__(
        self, scene: Scene, *, colour: Colour, floor: float, stature: float, size: int
    ) -> None:
        self.gap = even(GAP * size)
        self.height = even(size)
        self.body_width = even(BODY_WIDTH * size)
        side = (self.height - 2 * self.gap) // 3
        self.width = even(self.body_width + self.gap + side)

        self._scene = scene
        self._paint = Paint(colour, scene.gaze())
        self._whole = scene.surface.part(np.ones(scene.body.vertex_count, np.bool_))
        self._areas = scene.surface.areas(scene.rest_vertices())
        # The camera follows the figure over the floor and stays at one height above it.
        self._places = follow(scene.path(["pelvis"]), slack=BODY_SLACK, smoothing=BODY_SMOOTHING)
        self._places[:, 1] = floor

        camera = figure_camera(stature, width=self.body_width, height=self.height)
        self._ground = Ground(camera)
        self._camera = camera
        self._fine_camera = camera.enlarged(OVERSAMPLING)
        self._close_ups = [
            _CloseUpView(
                close_up, scene, width=self.width - self.body_width - self.gap, height=side
            )
            for close_up in CLOSE_UPS
        ]

    def pictures(self, frames: NDArray[np.int64]) -> Iterator[Picture]:
        """Yield the pictures (height, width, 3) of the given frames."""
        left = self.body_width + self.gap
        for frame, vertices in zip(frames, self._scene.vertices(frames), strict=True):
            normals = self._scene.surface.normals(vertices)
            panel = np.full((self.height, self.width, 3), PAPER, np.uint8)
            panel[:, : self.body_width] = self._body(vertices, normals, self._places[frame])
            top = 0
            for view in self._close_ups:
                tile = view.picture(frame, vertices, normals, self._paint)
                panel[top : top + len(tile), left:] = tile
                top += len(tile) + self.gap
            yield panel

    def _body(self, vertices: Floats, normals: Floats, place: Floats) -> Picture:
        placed = vertices - place
        ground = self._ground.at(place)
        draw_shadow(ground, placed, self._areas, self._camera)
        picture = _enlarged(ground)
        draw_figure(
            picture, placed, normals, self._whole, self._fine_camera, self._paint, floor=True
        )
        return _reduced(picture)


class _CloseUpView:
    """Draws one close-up of a motion."""

    def __init__(self, close_up: CloseUp, scene: Scene, *, width: int, height: int) -> None:
        camera = close_up_camera(close_up.extent, width=width, height=height)
        self._camera: Camera = camera.enlarged(OVERSAMPLING)
        self._part: SurfacePart = scene.part(close_up.drawn)
        self._path = scene.path(close_up.target)
        if not close_up.followed_exactly:
            self._path = follow(self._path, slack=FACE_SLACK, smoothing=FACE_SMOOTHING)
        self._background = backdrop(self._camera.width, self._camera.height)
        self._name = close_up.name
        self._note_scale = height / NOTE_HEIGHT

    def picture(self, frame: np.int64, vertices: Floats, normals: Floats, paint: Paint) -> Picture:
        picture = self._background.copy()
        placed = vertices - self._path[frame]
        draw_figure(picture, placed, normals, self._part, self._camera, paint, floor=False)
        return write_note(_reduced(picture), self._name, scale=self._note_scale)


def even(pixels: float) -> int:
    """Round to an even number of pixels, which H.264 with 4:2:0 chroma requires."""
    return 2 * round(pixels / 2)


def _enlarged(picture: Picture) -> Picture:
    height, width = picture.shape[:2]
    size = (width * OVERSAMPLING, height * OVERSAMPLING)
    return np.array(Image.fromarray(picture).resize(size, Image.Resampling.NEAREST))


def _reduced(picture: Picture) -> Picture:
    return np.asarray(Image.fromarray(picture).reduce(OVERSAMPLING))
