"""Triangles to pixels, all at once in numpy: every pixel of every bounding box is tested, the nearest hit stays."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Hits:
    """Pixels that a mesh covers, each with its nearest triangle."""

    pixels: Integers
    """Flat indices (P,), ascending."""
    corners: Integers
    """Vertex indices (P, 3) of the triangle."""
    weights: Floats
    """Barycentric coordinates (P, 3)."""

    def interpolate(self, values: Floats) -> Floats:
        """A value (P,) at each pixel of what vertices (V,) have."""
        return (values[self.corners] * self.weights).sum(1)


def rasterise(points: Floats, nearness: Floats, faces: Integers, *, width: int, height: int) -> Hits:
    """Draw a closed mesh whose faces wind counter-clockwise seen from outside; back faces are left out.

    Args:
        points: Vertices (V, 2) in pixels, y downwards; a pixel's centre is at + 0.5.
        nearness: 1 / distance (V,); greater is in front.
        faces: Vertex indices (F, 3).
        width: Of the picture, pixels.
        height: Of the picture, pixels.

    """
    faces = _facing(points, faces)
    a, b, c = (points[faces[:, k]] for k in range(3))
    low = np.clip(np.ceil(np.minimum(np.minimum(a, b), c) - 0.5), 0, [width, height]).astype(np.int32)
    high = np.clip(np.floor(np.maximum(np.maximum(a, b), c) - 0.5) + 1, 0, [width, height]).astype(np.int32)
    face, x, y = _boxes(low, high)
    beta, gamma = _weights(a, b, c, low)
    dx, dy = (x - low[face, 0]).astype(np.float32), (y - low[face, 1]).astype(np.float32)
    second = beta[0][face] + beta[1][face] * dx + beta[2][face] * dy
    third = gamma[0][face] + gamma[1][face] * dx + gamma[2][face] * dy
    inside = np.flatnonzero((second >= 0) & (third >= 0) & (second + third <= 1))
    face, second, third = face[inside], second[inside], third[inside]
    weights = np.stack([1 - second - third, second, third], axis=1)
    corners = faces[face]
    order = np.argsort((nearness[corners] * weights).sum(1))
    nearest = np.full(width * height, -1, np.int64)
    nearest[y[inside][order] * width + x[inside][order]] = order  # Of several hits the last written stays.
    pixels = np.flatnonzero(nearest >= 0)
    hit = nearest[pixels]
    return Hits(pixels, corners[hit], weights[hit])


def _facing(points: Floats, faces: Integers) -> Integers:
    a, b, c = (points[faces[:, k]] for k in range(3))
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    return faces[area < -1e-6]


def _boxes(low: NDArray[np.int32], high: NDArray[np.int32]) -> tuple[Integers, NDArray[np.int32], NDArray[np.int32]]:
    """Every pixel of every box: its box, x and y."""
    size = np.maximum(high - low, 0)
    count = size[:, 0] * size[:, 1]
    face = np.repeat(np.arange(len(low)), count)
    place = np.arange(len(face), dtype=np.int32) - np.repeat(np.cumsum(count) - count, count).astype(np.int32)
    row = place // size[face, 0]
    return face, low[face, 0] + place - row * size[face, 0], low[face, 1] + row


def _weights(a: Floats, b: Floats, c: Floats, low: NDArray[np.int32]) -> tuple[tuple[Floats, ...], tuple[Floats, ...]]:
    """Barycentric coordinates of the corners b and c: value at each box's first pixel, slope in x, slope in y."""
    ab, ac, start = b - a, c - a, low + np.float32(0.5) - a
    area = ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]
    beta = (ac[:, 1] / area, -ac[:, 0] / area)
    gamma = (-ab[:, 1] / area, ab[:, 0] / area)
    return tuple((slope[0] * start[:, 0] + slope[1] * start[:, 1], *slope) for slope in (beta, gamma))
