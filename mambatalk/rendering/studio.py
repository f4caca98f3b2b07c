"""The room a figure stands in: a floor with a grid, a backdrop, and the shadow at its feet."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom

from mambatalk.rendering.camera import Camera

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]

BACKDROP = (np.array([236, 239, 243], np.float32), np.array([214, 220, 228], np.float32))
"""Colours at the top and at the horizon."""
FLOOR = np.array([200, 206, 214], np.float32)
LINE = np.array([172, 180, 191], np.float32)
GRID = 0.5
"""Metres between lines."""
LINE_WIDTH = 0.012
FADE = 6.0
"""Metres at which the floor has become the backdrop."""
REACH = 0.22
"""Metres above the floor at which a point's shadow has faded to a third."""
SHADOW_SCALE = 4
"""The shadow is made on a picture this many times smaller, being blurred anyway."""


def empty_studio(camera: Camera, floor: float) -> Picture:
    """The room without a figure (height, width, 3); `floor` is the height of the ground in
    metres.
    """
    rays = camera.rays()
    down = np.minimum(rays[..., 1], -1e-6)
    reach = (floor - camera.position[1]) / down
    x, z = (camera.position[axis] + reach * rays[..., axis] for axis in (0, 2))
    height = np.linspace(0, 1, camera.height, dtype=np.float32)[:, None, None]
    backdrop = BACKDROP[0] * (1 - height) + BACKDROP[1] * height
    ground = FLOOR + (LINE - FLOOR) * _lines(x, z, reach / camera.focal)[..., None]
    depth = camera.position[2] - z
    seen = np.clip(1 - (depth - camera.position[2]) / FADE, 0, 1)[..., None] ** 1.5
    return np.where(rays[..., 1:2] < 0, ground * seen + backdrop * (1 - seen), backdrop).astype(
        np.uint8
    )


def draw_shadow(picture: Picture, vertices: Floats, camera: Camera, floor: float) -> None:
    """Darken the floor under a mesh (V, 3), in place."""
    flat = vertices.copy()
    rise = flat[:, 1] - floor
    flat[:, 1] = floor
    flat[:, 0] += 0.06 * rise
    flat[:, 2] -= 0.08 * rise
    points, _ = camera.project(flat)
    rows, columns = camera.height // SHADOW_SCALE, camera.width // SHADOW_SCALE
    place = (points / SHADOW_SCALE).astype(np.int64)
    kept = (place >= 0).all(1) & (place[:, 0] < columns) & (place[:, 1] < rows)
    near = np.exp(-np.clip(rise[kept], 0, None) / REACH)
    seen = np.bincount(place[kept, 1] * columns + place[kept, 0], near, rows * columns).reshape(
        rows, columns
    )
    dark = 0.5 * np.clip(
        gaussian_filter(np.minimum(seen, 4.0), camera.height / SHADOW_SCALE / 90) / 2.2, 0, 1
    )
    dim = np.flatnonzero(dark.max(axis=1) > 0.01)
    if len(dim):
        wide = zoom(dark[dim[0] : dim[-1] + 1], SHADOW_SCALE, order=1)
        top = dim[0] * SHADOW_SCALE
        below = picture[top : top + len(wide), : wide.shape[1]]
        below[:] = below * (1 - wide[..., None])


def _lines(x: Floats, z: Floats, pixel: Floats) -> Floats:
    """How much of each pixel, `pixel` metres wide at its distance, lies on a line of the grid."""
    share = np.zeros_like(x)
    for place, spread in ((x, pixel), (z, 4 * pixel)):
        off = np.abs((place / GRID + 0.5) % 1 - 0.5) * GRID
        width = np.maximum(LINE_WIDTH, spread)
        share = np.maximum(share, np.clip(1.5 - off / width, 0, 1) * LINE_WIDTH / width)
    return share
