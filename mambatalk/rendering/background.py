"""The background of a figure: a floor with a grid, a backdrop, and the shadow below the figure.

The floor is the plane y = 0.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom

from mambatalk.rendering.camera import Camera

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]

BACKDROP = (np.array([236, 239, 243], np.float32), np.array([214, 220, 228], np.float32))
"""Colours at the top and at the bottom of the picture."""
FLOOR = np.array([200, 206, 214], np.float32)
LINE = np.array([172, 180, 191], np.float32)
GRID = 0.5
"""Metres between grid lines."""
LINE_WIDTH = 0.012
"""Metres."""
FADE = 6.0
"""Metres behind the figure at which the floor has faded into the backdrop."""
SHADOW_REACH = 0.22
"""Height in metres above the floor at which a point's shadow has faded to a third."""
SHADOW_SCALE = 2
"""The shadow is computed on a picture this many times smaller, because it is blurred anyway."""
SHADOW_DEPTH = 0.5
"""Share of the light that is missing in the middle of a shadow."""


def backdrop(width: int, height: int) -> Picture:
    """Draw the backdrop (height, width, 3): one colour per row, darker towards the bottom."""
    share = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    rows = BACKDROP[0] * (1 - share) + BACKDROP[1] * share
    return np.broadcast_to(rows, (height, width, 3)).astype(np.uint8)


class Ground:
    """Draws the floor below a walking figure and the backdrop; what never changes is drawn once.

    Args:
        camera: The camera.

    """

    def __init__(self, camera: Camera) -> None:
        self._backdrop = backdrop(camera.width, camera.height)
        rays = camera.rays()
        # The camera does not roll, so the horizon is a row.
        self._horizon = int(np.argmax(rays[:, 0, 1] < -1e-6))
        rays = rays[self._horizon :]

        distance = -camera.position[1] / rays[..., 1]
        self._x = distance * rays[..., 0]
        self._z = camera.position[2] + distance[:, :1] * rays[:, :1, 2]
        self._pixel = distance[:, :1] / camera.focal

        far = self._backdrop[self._horizon :].astype(np.float32)
        visible = np.clip(1 + self._z / FADE, 0, 1)[..., None] ** 1.5
        self._plain = FLOOR * visible + far * (1 - visible)
        self._line = (LINE - FLOOR) * visible
        # In one attribute, because several threads draw.
        self._drawn = (np.full(3, np.nan, np.float32), self._backdrop)

    def at(self, place: Floats) -> Picture:
        """Draw the floor and the backdrop (height, width, 3) around a place (3,) in metres."""
        drawn_place, picture = self._drawn
        if not np.array_equal(place, drawn_place):
            across = _line_share(self._x + place[0], self._pixel)
            along = _line_share(self._z + place[2], 4 * self._pixel)
            line_share = np.maximum(across, along)[..., None]
            picture = self._backdrop.copy()
            picture[self._horizon :] = self._plain + self._line * line_share
            self._drawn = (place, picture)
        return picture.copy()


def draw_shadow(picture: Picture, vertices: Floats, areas: Floats, camera: Camera) -> None:
    """Darken the floor below a mesh, in place.

    Args:
        picture: Picture (height, width, 3).
        vertices: Vertices (V, 3) in metres.
        areas: Area of the mesh (V,) around each vertex in square metres, which its shadow is
            weighted by. A hand has as many vertices as a thigh, and a much smaller shadow.
        camera: Camera, whose picture has the same size.

    """
    rise = vertices[:, 1]
    flat = vertices * np.array([1, 0, 1], np.float32)
    # The light comes from the upper left in front, so that shadows of high points move away.
    flat[:, 0] += 0.06 * rise
    flat[:, 2] -= 0.08 * rise

    points, inverse_depth = camera.project(flat)
    rows, columns = camera.height // SHADOW_SCALE, camera.width // SHADOW_SCALE
    place = np.floor(points / SHADOW_SCALE).astype(np.int64)
    inside = (place >= 0).all(1) & (place[:, 0] < columns) & (place[:, 1] < rows)
    strength = areas[inside] * np.exp(-np.clip(rise[inside], 0, None) / SHADOW_REACH)
    flat_index = place[inside, 1] * columns + place[inside, 0]
    density = np.bincount(flat_index, strength, rows * columns).reshape(rows, columns)

    # A pixel of the floor is foreshortened, and half of a closed mesh faces upwards.
    pixel = SHADOW_SCALE / (camera.focal * float(inverse_depth.mean()))
    covered = density / (2 * pixel**2 / np.sin(camera.tilt))
    blurred = gaussian_filter(covered, camera.height / SHADOW_SCALE / 90)
    dark = SHADOW_DEPTH * np.clip(blurred, 0, 1)

    # Only the rows that have a shadow are scaled up and blended.
    shaded_rows = np.flatnonzero(dark.max(axis=1) > 0.01)
    if len(shaded_rows):
        first, last = shaded_rows[0], shaded_rows[-1]
        wide = zoom(dark[first : last + 1], SHADOW_SCALE, order=1)
        top = first * SHADOW_SCALE
        below = picture[top : top + len(wide), : wide.shape[1]]
        below[:] = below * (1 - wide[..., None])


def _line_share(place: Floats, pixel: Floats) -> Floats:
    """Return the share of each pixel that grid lines of one direction cover.

    Args:
        place: Place of each pixel on the floor in metres, across the lines.
        pixel: Width of each pixel on the floor in metres. Lines narrower than a pixel are drawn
            wider and fainter, which avoids flickering.

    """
    off = np.abs((place / GRID + 0.5) % 1 - 0.5) * GRID
    width = np.maximum(LINE_WIDTH, pixel)
    share: Floats = np.clip(1.5 - off / width, 0, 1) * LINE_WIDTH / width
    return share
