"""Draw a shaded mesh: vertex normals, lighting, and a palette from shadow to highlight."""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mambatalk.rendering.camera import Camera
from mambatalk.rendering.rasteriser import rasterise

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]

KEY_LIGHT = np.array([-0.45, 0.65, 0.62], np.float32)
FILL_LIGHT = np.array([0.75, 0.15, 0.55], np.float32)
"""Directions towards the two lights."""


class Surface:
    """The faces of a mesh with what their shading needs, prepared once for all frames."""

    def __init__(self, faces: NDArray[np.int64], vertex_count: int) -> None:
        self.faces = faces
        corners = faces.ravel()
        face = np.repeat(np.arange(len(faces)), 3)
        # Sums over the faces around each vertex, as a product with a sparse matrix.
        self._sum_over_faces = sparse.csr_matrix(
            (np.ones(len(corners), np.float32), (corners, face)), shape=(vertex_count, len(faces))
        )

    def normals(self, vertices: Floats) -> Floats:
        """Return unit normals (V, 3): means over the faces around a vertex, weighted by area."""
        a, b, c = (vertices[self.faces[:, k]] for k in range(3))
        summed = self._sum_over_faces @ _cross(b - a, c - a)
        return summed / np.maximum(np.linalg.norm(summed, axis=1, keepdims=True), 1e-12)


def draw_figure(
    picture: Picture, vertices: Floats, surface: Surface, camera: Camera, palette: Picture
) -> None:
    """Draw a mesh over a picture, in place.

    Args:
        picture: Picture (height, width, 3).
        vertices: Vertices (V, 3) in metres.
        surface: Faces of the mesh.
        camera: Camera, whose picture has the same size.
        palette: Colours (256, 3) from shadow to highlight.

    """
    points, inverse_depth = camera.project(vertices)
    fragments = rasterise(
        points, inverse_depth, surface.faces, width=camera.width, height=camera.height
    )
    light = fragments.interpolate(_light(surface.normals(vertices), vertices, camera))
    shade = np.clip(light * 255, 0, 255).astype(np.uint8)
    picture.reshape(-1, 3)[fragments.pixels] = palette[shade]


def palette(colour: Colour) -> Picture:
    """Return 256 colours (256, 3) of a material, from its shadow to its highlight."""
    base = np.array(colour, np.float32)
    stops = np.stack([base * 0.22, base * 0.62, base, 0.45 * base + 0.55 * 255])
    levels = np.linspace(0, 1, 256)
    channels = [np.interp(levels, [0, 0.4, 0.78, 1], stops[:, k]) for k in range(3)]
    return np.stack(channels, axis=1).astype(np.uint8)


def _cross(u: Floats, v: Floats) -> Floats:
    # np.cross spends most of its time on checking its arguments.
    (x, y, z), (k, m, n) = u.T, v.T
    return np.stack([y * n - z * m, z * k - x * n, x * m - y * k], axis=1)


def _light(normals: Floats, vertices: Floats, camera: Camera) -> Floats:
    """Return the brightness (V,) of the vertices, about 0 to 1.

    The sum of a key light, a weak fill light, light from above and a highlight, darkened where the
    surface turns away from the camera.
    """
    view = camera.position - vertices
    view /= np.linalg.norm(view, axis=1, keepdims=True)
    key, fill = (light / np.linalg.norm(light) for light in (KEY_LIGHT, FILL_LIGHT))
    facing = np.clip(np.einsum("vc,vc->v", normals, view), 0, 1)
    half = view + key
    half /= np.linalg.norm(half, axis=1, keepdims=True)
    highlight = np.clip(np.einsum("vc,vc->v", normals, half), 0, 1) ** 24
    diffuse = (
        0.52 * np.clip(normals @ key, 0, 1)
        + 0.16 * np.clip(normals @ fill, 0, 1)
        + 0.09 * (1 + normals[:, 1])
    )
    return (diffuse + 0.12) * (0.72 + 0.28 * facing) + 0.16 * highlight
