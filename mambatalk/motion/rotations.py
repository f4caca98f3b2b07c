"""Convert rotations between axis-angle, matrices and the 6D form that the networks use.

6D is the first two ROWS of the matrix, flattened (identity: 1 0 0 0 1 0). All functions accept any
leading shape, keep device and dtype, and are differentiable. Axis-angle is in radians. Source:
published rotation conversions.
"""

from typing import Literal

import roma
import torch
from torch import Tensor
from torch.nn import functional

Formula = Literal["roma", "published"]

SMALL_ANGLE = 1e-6
"""Radians below which the published formula replaces a quotient by its series."""


def axis_angle_to_matrix(rotation: Tensor) -> Tensor:
    """Convert axis-angle (..., 3) to matrices (..., 3, 3)."""
    return roma.rotvec_to_rotmat(rotation)


def matrix_to_axis_angle(matrix: Tensor, *, formula: Formula = "roma") -> Tensor:
    """Convert matrices (..., 3, 3) to axis-angle (..., 3) with angles of at most pi.

    Args:
        matrix: Rotation matrices.
        formula: `published` converts through a quaternion whose parts are square roots with copied
            signs. It loses small angles (in single precision those below about 3e-4) and its
            gradient is infinite at the identity. Use it to reproduce published numbers only.

    """
    if formula == "roma":
        return roma.rotmat_to_rotvec(matrix)
    return _quaternion_to_axis_angle(_matrix_to_quaternion(matrix))


def matrix_to_6d(matrix: Tensor) -> Tensor:
    """Convert matrices (..., 3, 3) to 6D (..., 6)."""
    return matrix[..., :2, :].flatten(-2)


def matrix_from_6d(rotation: Tensor) -> Tensor:
    """Convert 6D (..., 6), orthonormal or not, to matrices (..., 3, 3) by Gram-Schmidt."""
    # Written out instead of calling roma, because it must round as the published code does: the
    # published axis-angle formula turns one last bit here into an angle of 3e-4 rad.
    first = functional.normalize(rotation[..., :3], dim=-1)
    second = rotation[..., 3:] - (first * rotation[..., 3:]).sum(-1, keepdim=True) * first
    second = functional.normalize(second, dim=-1)
    return torch.stack((first, second, torch.linalg.cross(first, second)), dim=-2)


def axis_angle_to_6d(rotation: Tensor) -> Tensor:
    """Convert axis-angle (..., 3) to 6D (..., 6)."""
    return matrix_to_6d(axis_angle_to_matrix(rotation))


def axis_angle_from_6d(rotation: Tensor, *, formula: Formula = "roma") -> Tensor:
    """Convert 6D (..., 6) to axis-angle (..., 3); `formula` as in `matrix_to_axis_angle`."""
    return matrix_to_axis_angle(matrix_from_6d(rotation), formula=formula)


def _matrix_to_quaternion(matrix: Tensor) -> Tensor:
    xx, yy, zz = matrix[..., 0, 0], matrix[..., 1, 1], matrix[..., 2, 2]
    squares = (1 + xx + yy + zz, 1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz)
    size = torch.stack(squares, dim=-1).clamp(min=0).sqrt() / 2
    signs = (
        torch.ones_like(xx),
        matrix[..., 2, 1] - matrix[..., 1, 2],
        matrix[..., 0, 2] - matrix[..., 2, 0],
        matrix[..., 1, 0] - matrix[..., 0, 1],
    )
    return torch.copysign(size, torch.stack(signs, dim=-1))


def _quaternion_to_axis_angle(quaternion: Tensor) -> Tensor:
    real, imaginary = quaternion[..., :1], quaternion[..., 1:]
    half = torch.atan2(imaginary.norm(dim=-1, keepdim=True), real)
    angle = 2 * half
    small = angle.abs() < SMALL_ANGLE
    # sin(half) / angle. The inner `where` keeps the unused division by zero out of the gradient.
    safe_angle = torch.where(small, torch.ones_like(angle), angle)
    ratio = torch.where(small, 0.5 - angle**2 / 48, half.sin() / safe_angle)
    return imaginary / ratio
