"""Loss terms, each a function of its own; training/ weighs and adds them.

Rotations are matrices (B, T, J, 3, 3), joints and vertices metres (B, T, V, 3), frames 30 a second.
Source: published trainers of the auto-encoders and of the generator.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from mambatalk.motion.skeleton import PARTS, Part

if TYPE_CHECKING:
    # At run time too, and every auto-encoder would be trained anew whenever the generator's code
    # changes.
    from mambatalk.models.generator.network import GeneratorOutput

COSINE_LIMIT = 1 - 1e-6
"""The published clamp: the term never falls below about 1.4e-3 rad, and has no gradient there."""
PLANTED = 0.95
"""Predicted contact above which a foot is held still."""
LATENT_WEIGHT = 3.0

TIME = 1
"""Axis of time in the tensors above."""
VERTEX = 2
"""Axis of vertices."""


def total(terms: Iterable[Tensor]) -> Tensor:
    """Sum of terms, of which there is at least one."""
    return torch.stack(list(terms)).sum()


def geodesic(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean angle in radians between rotation matrices (..., 3, 3)."""
    cosine = ((predicted * target).sum((-1, -2)) - 1) / 2
    return torch.acos(cosine.clamp(-COSINE_LIMIT, COSINE_LIMIT)).mean()


def difference(x: Tensor, *, order: int, axis: int = TIME) -> Tensor:
    """First (`order` 1) or second (2) difference along an axis; per frame, not per second."""
    return torch.diff(x, n=order, dim=axis)


def l1_of_differences(predicted: Tensor, target: Tensor, *, axis: int = TIME) -> Tensor:
    """L1 of first plus second differences: velocity and acceleration when the axis is time."""
    error = predicted - target
    return total(difference(error, order=order, axis=axis).abs().mean() for order in (1, 2))


def mse_of_differences(predicted: Tensor, target: Tensor, *, axis: int = TIME) -> Tensor:
    """Mean square of first plus second differences."""
    error = predicted - target
    return total(difference(error, order=order, axis=axis).square().mean() for order in (1, 2))


def foot_sliding(feet: Tensor, contact: Tensor) -> Tensor:
    """Mean |step| of feet (B, T, 4, 3) to the next frame where contact (B, T, 4) is above 0.95; the
    last step is 0.

    The mean runs over everything, planted or not, and the gate passes no gradient.
    """
    step = functional.pad(difference(feet, order=1), (0, 0, 0, 0, 0, 1))
    return torch.where((contact > PLANTED).unsqueeze(-1), step, 0).abs().mean()


def latent_loss(output: "GeneratorOutput", vectors: Mapping[Part, Tensor]) -> Tensor:
    """Three times the mean squared distance of latents to code vectors (B, T, C), summed over the
    four parts.
    """
    return total(
        LATENT_WEIGHT * functional.mse_loss(output.latent[part], vectors[part]) for part in PARTS
    )


def index_loss(
    output: "GeneratorOutput", codes: Mapping[Part, Tensor], parts: tuple[Part, ...] = PARTS
) -> Tensor:
    """Negative log-likelihood of codes (B, T), summed over parts."""
    return total(
        functional.cross_entropy(output.logits[part].flatten(0, 1), codes[part].flatten())
        for part in parts
    )
