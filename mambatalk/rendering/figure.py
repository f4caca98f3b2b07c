"""Draw a shaded mesh: vertex normals, lighting, and a palette from shadow to highlight."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import sparse

from mambatalk.rendering.camera import Camera
from mambatalk.rendering.rasteriser import Fragments, rasterise

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]

OVERSAMPLING = 2
"""Figures are drawn this many times larger and averaged, which smooths their edges."""
KEY_LIGHT = np.array([-0.45, 0.65, 0.62], np.float32)
FILL_LIGHT = np.array([0.75, 0.15, 0.55], np.float32)
"""Directions towards the two lights."""
EYE_WHITE: Colour = (240, 240, 236)
PUPIL: Colour = (44, 40, 40)
PUPIL_COSINE = 0.8
"""Cosine of the angle that a pupil spans around the direction of its eye."""


class Surface:
    """The faces of a mesh with what their shading needs, prepared once for all frames."""

    def __init__(self, faces: Integers, vertex_count: int) -> None:
        self.faces = faces
        corners = faces.ravel()
        face = np.repeat(np.arange(len(faces)), 3)
        # Sums over the faces around each vertex, as a product with a sparse matrix.
        self._sum_over_faces = sparse.csr_matrix(
            (np.ones(len(corners), np.float32), (corners, face)), shape=(vertex_count, len(faces))
        )

    def normals(self, vertices: Floats) -> Floats:
        """Return unit normals (V, 3): means over the faces around a vertex, weighted by area."""
        summed = self._sum_over_faces @ self._face_normals(vertices)
        return summed / np.maximum(np.linalg.norm(summed, axis=1, keepdims=True), 1e-12)

    def areas(self, vertices: Floats) -> Floats:
        """Return the area (V,) around each vertex in square metres; 0 where no face is."""
        twice_areas = np.linalg.norm(self._face_normals(vertices), axis=1)
        areas: Floats = self._sum_over_faces @ twice_areas / 6
        return areas

    def part(self, selected: NDArray[np.bool_]) -> "SurfacePart":
        """Return the faces whose three vertices are selected by a mask (V,)."""
        faces = self.faces[selected[self.faces].all(axis=1)]
        vertices, corners = np.unique(faces, return_inverse=True)
        return SurfacePart(vertices, corners.reshape(-1, 3))

    def _face_normals(self, vertices: Floats) -> Floats:
        a, b, c = (vertices[self.faces[:, k]] for k in range(3))
        return _cross(b - a, c - a)


@dataclass(frozen=True)
class SurfacePart:
    """Some faces of a mesh, with the vertices that they use."""

    vertices: Integers
    """Indices (P,) among the vertices of the mesh."""
    faces: Integers
    """Indices (F, 3) among the vertices of the part."""


def draw_figure(
    picture: Picture,
    vertices: Floats,
    normals: Floats,
    part: SurfacePart,
    camera: Camera,
    paint: "Paint",
    *,
    floor: bool,
) -> None:
    """Draw a mesh or a part of it over a picture, in place.

    Args:
        picture: Picture (height, width, 3).
        vertices: Vertices (V, 3) of the whole mesh in metres.
        normals: Their unit normals (V, 3).
        part: The faces to draw.
        camera: Camera, whose picture has the same size.
        paint: Colours of the mesh.
        floor: Whether the floor y = 0 hides what is below it.

    """
    vertices, normals = vertices[part.vertices], normals[part.vertices]
    points, inverse_depth = camera.project(vertices)
    # Only the box around the figure is enlarged, which is a quarter of a wide picture.
    size = np.array([camera.width, camera.height])
    left, top = np.clip(np.floor(points.min(axis=0)), 0, size).astype(int)
    right, bottom = np.clip(np.ceil(points.max(axis=0)), 0, size).astype(int)
    if left >= right or top >= bottom:
        return
    box = picture[top:bottom, left:right]
    fine = _enlarged(box)
    fragments = rasterise(
        OVERSAMPLING * (points - np.array([left, top], np.float32)),
        inverse_depth,
        part.faces,
        width=fine.shape[1],
        height=fine.shape[0],
    )
    if floor and vertices[:, 1].min() < 0:
        fragments = fragments.where(fragments.interpolate(vertices[:, 1]) >= 0)
    light = fragments.interpolate(_light(normals, vertices, camera))
    shade = np.clip(light * 255, 0, 255).astype(np.uint8)
    colours = paint.skin[shade]
    paint.draw_eyes(colours, shade, fragments, part)
    fine.reshape(-1, 3)[fragments.pixels] = colours
    box[:] = np.asarray(Image.fromarray(fine).reduce(OVERSAMPLING))


class Paint:
    """Colours of a mesh: its skin, and eyes whose pupils show where they look.

    Args:
        colour: Colour of the skin.
        gaze: For each vertex (V,) the cosine of its angle to the direction of the eye that it
            belongs to; NaN outside of the eyes.

    """

    def __init__(self, colour: Colour, gaze: Floats) -> None:
        self.skin = palette(colour)
        self._gaze = gaze
        self._white = palette(EYE_WHITE)
        self._pupil = palette(PUPIL)

    def draw_eyes(
        self, colours: Picture, shade: Picture, fragments: Fragments, part: SurfacePart
    ) -> None:
        """Replace the colours (P, 3) of the fragments that belong to eyes, in place.

        Args:
            colours: Colours of the fragments.
            shade: Brightness (P,) of the fragments, 0 to 255.
            fragments: The fragments.
            part: The faces that the fragments were made of.

        """
        gaze = self._gaze[part.vertices]
        place = np.flatnonzero(np.isfinite(gaze)[fragments.corners[:, 0]])
        looking = fragments.where(place).interpolate(gaze)[:, None] > PUPIL_COSINE
        colours[place] = np.where(looking, self._pupil[shade[place]], self._white[shade[place]])


def palette(colour: Colour) -> Picture:
    """Return 256 colours (256, 3) of a material, from its shadow to its highlight."""
    base = np.array(colour, np.float32)
    stops = np.stack([base * 0.22, base * 0.62, base, 0.45 * base + 0.55 * 255])
    levels = np.linspace(0, 1, 256)
    channels = [np.interp(levels, [0, 0.4, 0.78, 1], stops[:, k]) for k in range(3)]
    return np.stack(channels, axis=1).astype(np.uint8)


def _enlarged(picture: Picture) -> Picture:
    return picture.repeat(OVERSAMPLING, axis=0).repeat(OVERSAMPLING, axis=1)


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
