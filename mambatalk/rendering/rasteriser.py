"""Rasterise triangles in NumPy: test all pixels of all bounding boxes, keep the nearest triangle.

VTK is not used: without a GPU it needs EGL from the system, 564 MB of packages, and twice the
time per frame (docs/decisions.md).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
Pixels = NDArray[np.int32]


@dataclass(frozen=True)
class Fragments:
    """The pixels that a mesh covers, each with its nearest triangle."""

    pixels: Integers
    """Flat pixel indices (P,), ascending."""
    corners: Integers
    """Vertex indices (P, 3) of the triangle."""
    weights: Floats
    """Barycentric coordinates (P, 3)."""

    def interpolate(self, values: Floats) -> Floats:
        """Interpolate values of the vertices (V,) at each pixel (P,)."""
        return _weighted(values, self.corners, self.weights)

    def where(self, selected: NDArray[np.bool_] | Integers) -> "Fragments":
        """Return the fragments that a mask (P,) or indices select."""
        return Fragments(self.pixels[selected], self.corners[selected], self.weights[selected])


def rasterise(
    points: Floats, inverse_depth: Floats, faces: Integers, *, width: int, height: int
) -> Fragments:
    """Find the nearest triangle at each pixel of a closed mesh; back faces are left out.

    Args:
        points: Vertices (V, 2) in pixels, y downwards. The centre of a pixel is at + 0.5.
        inverse_depth: 1 / distance (V,). Larger values are in front.
        faces: Vertex indices (F, 3), counter-clockwise as seen from outside.
        width: Width of the picture in pixels.
        height: Height of the picture in pixels.

    """
    faces = _front_faces(points, faces)
    a, b, c = points[faces[:, 0]], points[faces[:, 1]], points[faces[:, 2]]
    smallest = np.minimum(np.minimum(a, b), c)
    largest = np.maximum(np.maximum(a, b), c)
    low = np.clip(np.ceil(smallest - 0.5), 0, [width, height]).astype(np.int32)
    high = np.clip(np.floor(largest - 0.5) + 1, 0, [width, height]).astype(np.int32)

    face, column, row, second, third = _candidates(a, b, c, low, high)
    corners = faces[face]
    weights = np.stack([1 - second - third, second, third], axis=1)
    depth = _weighted(inverse_depth, corners, weights)
    pixel = (low[face, 1] + row) * width + low[face, 0] + column
    nearest = _nearest(pixel, depth, width * height)

    pixels = np.flatnonzero(nearest >= 0)
    candidate = nearest[pixels]
    return Fragments(pixels, corners[candidate], weights[candidate])


def _candidates(
    a: Floats, b: Floats, c: Floats, low: Pixels, high: Pixels
) -> tuple[Integers, Pixels, Pixels, Floats, Floats]:
    """Find all pixels inside triangles.

    Args:
        a: First corners (F, 2) in pixels.
        b: Second corners.
        c: Third corners.
        low: First pixel (F, 2) of each triangle's bounding box.
        high: Pixel after the last one (F, 2).

    Returns:
        For each candidate: triangle, column and row in its bounding box, weights of the corners b
        and c.

    """
    size = np.maximum(high - low, 0)
    count = size[:, 0] * size[:, 1]
    first = (np.cumsum(count) - count).astype(np.int32)
    place = np.arange(count.sum(), dtype=np.int32) - np.repeat(first, count)
    box_width = np.repeat(size[:, 0], count)
    row = place // box_width
    column = place - row * box_width
    x, y = column.astype(np.float32), row.astype(np.float32)
    second, third = (
        np.repeat(start, count) + np.repeat(along, count) * x + np.repeat(down, count) * y
        for start, along, down in _planes(a, b, c, low)
    )
    inside = np.flatnonzero((second >= 0) & (third >= 0) & (second + third <= 1))
    face = np.repeat(np.arange(len(count)), count)[inside]
    return face, column[inside], row[inside], second[inside], third[inside]


def _planes(
    a: Floats, b: Floats, c: Floats, low: Pixels
) -> Iterator[tuple[Floats, Floats, Floats]]:
    """Yield the barycentric coordinate of b, then of c, as a plane over the picture.

    Each is a value at the first pixel of the bounding box, a slope in x and a slope in y.
    """
    ab, ac, start = b - a, c - a, low + np.float32(0.5) - a
    area = ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]
    for along, down in ((ac[:, 1] / area, -ac[:, 0] / area), (-ab[:, 1] / area, ab[:, 0] / area)):
        yield along * start[:, 0] + down * start[:, 1], along, down


def _nearest(pixel: Pixels, depth: Floats, pixel_count: int) -> Pixels:
    """Return the nearest candidate for each pixel (pixel_count,); -1 where there is none.

    Args:
        pixel: Pixel of each candidate.
        depth: Inverse depth of each candidate. The largest is the nearest; of equals the last.
        pixel_count: Number of pixels.

    """
    nearest = np.full(pixel_count, -1, np.int32)
    rest = np.arange(len(pixel), dtype=np.int32)
    # Few pixels have several candidates, so writing all of them and then those that should have
    # won, until there are none, takes a fraction of the time of sorting them by depth.
    while len(rest):
        nearest[pixel[rest]] = rest
        rest = rest[depth[rest] > depth[nearest[pixel[rest]]]]
    return nearest


def _front_faces(points: Floats, faces: Integers) -> Integers:
    a, b, c = (points[faces[:, k]] for k in range(3))
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    # Counter-clockwise is negative, because y points downwards. The limit drops empty triangles.
    return faces[area < -1e-6]


def _weighted(values: Floats, corners: Integers, weights: Floats) -> Floats:
    # Three products in a row are several times faster than a sum over an axis of three.
    first, second, third = (values[corners[:, k]] * weights[:, k] for k in range(3))
    return first + second + third
