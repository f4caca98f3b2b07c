"""What the metrics share: their variants, the checks of a clip, and a mean over clips."""

from collections.abc import Sequence
from typing import Literal, TypeVar

import torch
from torch import Tensor
from torchmetrics import Metric

Variant = Literal["published", "corrected"]
"""`published` is what papers print, with its errors; `corrected` is the metric without them."""

AnyVariant = Literal["published", "corrected", "evaltools"]
"""`evaltools` is the newer public evaluator, where it differs."""

V = TypeVar("V", bound=str)


def check_variant(variant: V, known: Sequence[str]) -> V:
    """Return the variant.

    Raises:
        ValueError: The variant is unknown.

    """
    if variant not in known:
        raise ValueError(f"metric variant: expected {' or '.join(known)}, found {variant!r}")
    return variant


def check_clip(name: str, points: Tensor, *, like: Tensor | None = None) -> None:
    """Check that points are those of one clip.

    Args:
        name: Name of the points for error messages.
        points: Points (n, K, 3) in metres, n at least 1.
        like: Points that must have the same shape.

    Raises:
        ValueError: The shape is different, or a value is not finite.

    """
    shape = tuple(points.shape)
    if like is not None and points.shape != like.shape:
        raise ValueError(
            f"{name}: expected equal shapes (n, K, 3), found {shape} and {tuple(like.shape)}"
        )
    if points.ndim != 3 or shape[2] != 3 or not shape[0]:
        raise ValueError(f"{name}: expected one clip (n, K, 3), found shape {shape}")
    if not points.isfinite().all():
        raise ValueError(f"{name}: expected metres, found values that are not finite")


class ClipMean(Metric):
    """Weighted mean of one value per clip.

    Calling the metric returns the value of that clip alone (torchmetrics `forward`). A clip whose
    value is NaN is left out of the mean; without any clip the mean is NaN.
    """

    full_state_update = False
    total: Tensor
    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("weight", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def add(self, value: float, weight: float) -> None:
        """Add the value of one clip."""
        is_nan = value != value
        if not is_nan and weight > 0:
            self.total = self.total + value * weight
            self.weight = self.weight + weight

    def compute(self) -> Tensor:
        """Return the mean over clips (scalar, float64)."""
        return self.total / self.weight
