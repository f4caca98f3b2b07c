"""The background of a figure: a floor with a grid, a backdrop, and the shadow below the figure."""

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
"""Metres behind the camera's origin at which the floor has faded into the backdrop."""
SHADOW_REACH = 0.22
"""Height in metres above the floor at which a point's shadow has faded to a third."""
SHADOW_SCALE = 4
"""The shadow is computed on a picture this many times smaller, because it is blurred anyway."""


def draw_background(camera: Camera, floor: float) -> Picture:
    """Draw floor and backdrop (height, width, 3).

    Args:
        camera: The camera.
        floor: Height of the floor in metres.

    """
    rays = camera.rays()
    down = np.minimum(rays[..., 1], -1e-6)
    distance = (floor - camera.position[1]) / down
    x, z = (camera.position[axis] + distance * rays[..., axis] for axis in (0, 2))
    height = np.linspace(0, 1, camera.height, dtype=np.float32)[:, None, None]
    backdrop = BACKDROP[0] * (1 - height) + BACKDROP[1] * height
    line_share = _line_share(x, z, distance / camera.focal)[..., None]
    ground = FLOOR + (LINE - FLOOR) * line_share
    depth = camera.position[2] - z
    visible = np.clip(1 - (depth - camera.position[2]) / FADE, 0, 1)[..., None] ** 1.5
    faded = ground * visible + backdrop * (1 - visible)
    return np.where(rays[..., 1:2] < 0, faded, backdrop).astype(np.uint8)


def draw_shadow(picture: Picture, vertices: Floats, camera: Camera, floor: float) -> None:
    """Darken the floor below a mesh (V, 3) in metres, in place.

    Args:
        picture: Picture (height, width, 3).
        vertices: Vertices (V, 3) in metres.
        camera: Camera, whose picture has the same size.
        floor: Height of the floor in metres.

    """
    flat = vertices.copy()
    rise = flat[:, 1] - floor
    flat[:, 1] = floor
    # The light comes from the upper left in front, so that shadows of high points move away.
    flat[:, 0] += 0.06 * rise
    flat[:, 2] -= 0.08 * rise

    points, _ = camera.project(flat)
    rows, columns = camera.height // SHADOW_SCALE, camera.width // SHADOW_SCALE
    place = (points / SHADOW_SCALE).astype(np.int64)
    inside = (place >= 0).all(1) & (place[:, 0] < columns) & (place[:, 1] < rows)
    strength = np.exp(-np.clip(rise[inside], 0, None) / SHADOW_REACH)
    flat_index = place[inside, 1] * columns + place[inside, 0]
    density = np.bincount(flat_index, strength, rows * columns).reshape(rows, columns)
    blurred = gaussian_filter(np.minimum(density, 4.0), camera.height / SHADOW_SCALE / 90)
    dark = 0.5 * np.clip(blurred / 2.2, 0, 1)

    # Only the rows that have a shadow are scaled up and blended.
    shaded_rows = np.flatnonzero(dark.max(axis=1) > 0.01)
    if len(shaded_rows):
        first, last = shaded_rows[0], shaded_rows[-1]
        wide = zoom(dark[first : last + 1], SHADOW_SCALE, order=1)
        top = first * SHADOW_SCALE
        below = picture[top : top + len(wide), : wide.shape[1]]
        below[:] = below * (1 - wide[..., None])


def _line_share(x: Floats, z: Floats, pixel: Floats) -> Floats:
    """Return the share of each pixel that grid lines cover.

    Args:
        x: Place of each pixel on the floor in metres.
        z: The same in depth.
        pixel: Width of each pixel on the floor in metres. Lines narrower than a pixel are drawn
            wider and fainter, which avoids flickering.

    """
    share = np.zeros_like(x)
    for place, spread in ((x, pixel), (z, 4 * pixel)):
        off = np.abs((place / GRID + 0.5) % 1 - 0.5) * GRID
        width = np.maximum(LINE_WIDTH, spread)
        share = np.maximum(share, np.clip(1.5 - off / width, 0, 1) * LINE_WIDTH / width)
    return share
