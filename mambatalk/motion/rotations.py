"""Rotations between axis-angle, matrices and the 6D form that the networks read and write.

6D is the first two ROWS of the matrix, flattened (identity: 1 0 0 0 1 0). All functions take any
leading shape, keep device and dtype, and are differentiable. Axis-angle is in radians. Source:
published rotation conversions.
"""

from typing import Literal

import roma
import torch
from torch import Tensor
from torch.nn import functional

Formula = Literal["roma", "published"]


def axis_angle_to_matrix(rotation: Tensor) -> Tensor:
    """Axis-angle (..., 3) to matrices (..., 3, 3)."""
    return roma.rotvec_to_rotmat(rotation)


def matrix_to_axis_angle(matrix: Tensor, *, formula: Formula = "roma") -> Tensor:
    """Matrices (..., 3, 3) to axis-angle (..., 3) with angles of at most pi.

    Args:
        matrix: Rotation matrices.
        formula: `published` goes through a quaternion whose parts are square roots with copied
            signs. It loses small angles (single precision: below about 3e-4) and its gradient is
            infinite at the identity; it exists to reproduce published numbers.

    """
    if formula == "roma":
        return roma.rotmat_to_rotvec(matrix)
    return _quaternion_to_axis_angle(_matrix_to_quaternion(matrix))


def matrix_to_6d(matrix: Tensor) -> Tensor:
    """Matrices (..., 3, 3) to 6D (..., 6)."""
    return matrix[..., :2, :].flatten(-2)


def matrix_from_6d(rotation: Tensor) -> Tensor:
    """6D (..., 6), orthonormal or not, to matrices (..., 3, 3) by Gram-Schmidt; the third row is
    the cross product.

    Written out, because it must round as the published one does: the published inverse turns a last
    bit here into an angle of 3e-4 rad.
    """
    first = functional.normalize(rotation[..., :3], dim=-1)
    second = rotation[..., 3:] - (first * rotation[..., 3:]).sum(-1, keepdim=True) * first
    second = functional.normalize(second, dim=-1)
    return torch.stack((first, second, torch.linalg.cross(first, second)), dim=-2)


def axis_angle_to_6d(rotation: Tensor) -> Tensor:
    """Axis-angle (..., 3) to 6D (..., 6)."""
    return matrix_to_6d(axis_angle_to_matrix(rotation))


def axis_angle_from_6d(rotation: Tensor, *, formula: Formula = "roma") -> Tensor:
    """6D (..., 6) to axis-angle (..., 3); `formula` as in `matrix_to_axis_angle`."""
    return matrix_to_axis_angle(matrix_from_6d(rotation), formula=formula)


def _matrix_to_quaternion(matrix: Tensor) -> Tensor:
    xx, yy, zz = matrix[..., 0, 0], matrix[..., 1, 1], matrix[..., 2, 2]
    size = torch.stack(
        (1 + xx + yy + zz, 1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz), dim=-1
    )
    size = size.clamp(min=0).sqrt() / 2
    sign = torch.stack(
        (
            torch.ones_like(xx),
            matrix[..., 2, 1] - matrix[..., 1, 2],
            matrix[..., 0, 2] - matrix[..., 2, 0],
            matrix[..., 1, 0] - matrix[..., 0, 1],
        ),
        dim=-1,
    )
    return torch.copysign(size, sign)


def _quaternion_to_axis_angle(quaternion: Tensor) -> Tensor:
    real, imaginary = quaternion[..., :1], quaternion[..., 1:]
    half = torch.atan2(imaginary.norm(dim=-1, keepdim=True), real)
    angle = 2 * half
    small = angle.abs() < 1e-6
    # sin(half) / angle, by its series where the division loses its meaning.
    ratio = torch.where(
        small, 0.5 - angle**2 / 48, half.sin() / torch.where(small, torch.ones_like(angle), angle)
    )
    return imaginary / ratio
