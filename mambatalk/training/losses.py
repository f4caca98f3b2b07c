"""Unweighted loss terms of motion, one function each.

Rotations are matrices (B, T, J, 3, 3); joints and vertices are in metres (B, T, V, 3); motion has
30 frames a second. Source: published trainers of the auto-encoders.
"""

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from mambatalk.training.loop.module import total

COSINE_LIMIT: Final = 1 - 1e-6
"""The published clamp: the term never falls below about 1.4e-3 rad, and has no gradient there."""
CONTACT_THRESHOLD: Final = 0.95
"""Predicted contact above which a foot counts as planted, as published."""

TIME: Final = 1
"""Axis of time in the tensors above."""
VERTEX: Final = 2
"""Axis of vertices."""


def geodesic(predicted: Tensor, target: Tensor) -> Tensor:
    """Return the mean angle in radians between rotation matrices (..., 3, 3)."""
    cosine = ((predicted * target).sum((-1, -2)) - 1) / 2
    return torch.acos(cosine.clamp(-COSINE_LIMIT, COSINE_LIMIT)).mean()


def difference(x: Tensor, *, order: int, axis: int = TIME) -> Tensor:
    """Return first (`order` 1) or second (2) differences along an axis, per frame."""
    return torch.diff(x, n=order, dim=axis)


def l1_of_differences(predicted: Tensor, target: Tensor, *, axis: int = TIME) -> Tensor:
    """Return the L1 error of first plus second differences along an axis.

    Along time these are the errors of velocity and acceleration.

    Args:
        predicted: Predicted values.
        target: True values of the same shape.
        axis: Axis of the differences.

    """
    error = predicted - target
    return total(difference(error, order=order, axis=axis).abs().mean() for order in (1, 2))


def mse_of_differences(predicted: Tensor, target: Tensor, *, axis: int = TIME) -> Tensor:
    """Return the mean squared error of first plus second differences along an axis.

    Args:
        predicted: Predicted values.
        target: True values of the same shape.
        axis: Axis of the differences.

    """
    error = predicted - target
    return total(difference(error, order=order, axis=axis).square().mean() for order in (1, 2))


def foot_sliding(feet: Tensor, contact: Tensor) -> Tensor:
    """Return the mean absolute step of planted feet to the next frame, in metres.

    The mean runs over all frames and feet, planted or not. The threshold passes no gradient to
    `contact`. The step of the last frame is 0.

    Args:
        feet: Joints (B, T, 4, 3).
        contact: Predicted contact (B, T, 4); a foot is planted above 0.95.

    """
    step = functional.pad(difference(feet, order=1), (0, 0, 0, 0, 0, 1))
    planted = (contact > CONTACT_THRESHOLD).unsqueeze(-1)
    return step.masked_fill(~planted, 0).abs().mean()
