"""Rasterise triangles: a loop over their bounding boxes, with a depth buffer, that numba compiles.

OpenGL is not used: docs/decisions.md has the comparison.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from mambatalk.files import compile_lock

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
Indices = NDArray[np.int32]


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
        # Three products in a row are several times faster than a sum over an axis of three.
        first, second, third = (values[self.corners[:, k]] * self.weights[:, k] for k in range(3))
        return first + second + third

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
    nearest = np.full((height, width), -1, np.int32)
    depth = np.zeros((height, width), np.float32)
    second, third = np.empty((2, height, width), np.float32)
    _loop()(
        np.ascontiguousarray(points, np.float32),
        np.ascontiguousarray(inverse_depth, np.float32),
        np.ascontiguousarray(faces, np.int64),
        nearest,
        depth,
        second,
        third,
    )
    pixels = np.flatnonzero(nearest.ravel() >= 0)
    b, c = second.ravel()[pixels], third.ravel()[pixels]
    weights = np.stack([1 - b - c, b, c], axis=1)
    return Fragments(pixels, faces[nearest.ravel()[pixels]], weights)


@cache
def _loop() -> Callable[..., None]:
    """Return the compiled loop. The first call in an environment compiles for a second."""
    import numba

    with compile_lock():
        try:
            compiled = numba.njit(_SIGNATURE, nogil=True, cache=True)(_nearest_triangles)
        except RuntimeError:
            # No folder to keep what was compiled.
            compiled = numba.njit(_SIGNATURE, nogil=True)(_nearest_triangles)
    return compiled


_SIGNATURE = (
    "void(float32[:, ::1], float32[::1], int64[:, ::1],"
    " int32[:, ::1], float32[:, ::1], float32[:, ::1], float32[:, ::1])"
)


def _nearest_triangles(
    points: Floats,
    inverse_depth: Floats,
    faces: Integers,
    nearest: Indices,
    depth: Floats,
    second: Floats,
    third: Floats,
) -> None:
    """Write the nearest triangle of each pixel, and the weights of its second and third corner.

    Args:
        points: Vertices (V, 2) in pixels.
        inverse_depth: 1 / distance (V,).
        faces: Vertex indices (F, 3).
        nearest: Triangle of each pixel (height, width), -1 where there is none.
        depth: Largest inverse depth of each pixel (height, width) so far. Of equals the last wins.
        second: Weights (height, width) of the second corner.
        third: Weights (height, width) of the third corner.

    """
    height, width = nearest.shape
    for face in range(len(faces)):
        a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
        ax, ay = points[a, 0], points[a, 1]
        abx, aby = points[b, 0] - ax, points[b, 1] - ay
        acx, acy = points[c, 0] - ax, points[c, 1] - ay
        area = abx * acy - aby * acx
        # Counter-clockwise is negative, because y points downwards. The limit drops empty
        # triangles, and the negation NaN.
        if not area < -1e-6:
            continue
        left = max(np.ceil(ax + min(abx, acx, np.float32(0)) - 0.5), 0.0)
        right = min(np.floor(ax + max(abx, acx, np.float32(0)) - 0.5) + 1, float(width))
        top = max(np.ceil(ay + min(aby, acy, np.float32(0)) - 0.5), 0.0)
        bottom = min(np.floor(ay + max(aby, acy, np.float32(0)) - 0.5) + 1, float(height))
        za, zb, zc = inverse_depth[a], inverse_depth[b], inverse_depth[c]
        for row in range(int(top), int(bottom)):
            y = row + 0.5 - ay
            for column in range(int(left), int(right)):
                x = column + 0.5 - ax
                u = (acy * x - acx * y) / area
                v = (abx * y - aby * x) / area
                if u < 0 or v < 0 or u + v > 1:
                    continue
                z = (1 - u - v) * za + u * zb + v * zc
                if z >= depth[row, column]:
                    depth[row, column] = z
                    nearest[row, column] = face
                    second[row, column] = u
                    third[row, column] = v
