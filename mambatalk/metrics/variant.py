"""What the metrics share: their variants, and a mean over clips in two running sums."""

from collections.abc import Sequence
from typing import Literal, TypeVar

import torch
from torch import Tensor
from torchmetrics import Metric

from mambatalk.errors import InputError

Variant = Literal["published", "corrected"]
"""`published` is what papers print, faults included; `corrected` is the same metric without the
faults.
"""

AnyVariant = Literal["published", "corrected", "evaltools"]
"""`evaltools` is the newer public evaluator, where it differs."""

V = TypeVar("V", bound=str)


def check_variant(variant: V, known: Sequence[str]) -> V:
    """Return the variant.

    Raises:
        InputError: It is not one of those known.

    """
    if variant not in known:
        raise InputError(
            "metric: variant",
            f"expected {' or '.join(known)}, found {repr(variant)}",
            "name one of these",
        )
    return variant


def check_clip(what: str, points: Tensor, *, like: Tensor | None = None) -> None:
    """Look whether points are those of one clip, (n, K, 3) with n of at least 1 and all finite.

    Args:
        what: Names them in the message.
        points: The points.
        like: What they are held against, and must have the shape of.

    Raises:
        InputError: They are not.

    """
    shape = tuple(points.shape)
    if like is not None and points.shape != like.shape:
        raise InputError(
            what,
            f"expected equal shapes (n, K, 3), found {shape} against {tuple(like.shape)}",
            "cut both clips to the same frames",
        )
    if points.ndim != 3 or shape[2] != 3 or not shape[0]:
        raise InputError(
            what, f"expected one clip (n, K, 3), found shape {shape}", "add clips one by one"
        )
    if not points.isfinite().all():
        raise InputError(
            what, "expected metres, found values that are not finite", "generate the clip again"
        )


class ClipMean(Metric):
    """A weighted mean of clip values; calling it (torchmetrics `forward`) gives the value of that
    clip alone.

    A clip whose value is NaN leaves the mean; with no clip left the mean is NaN.
    """

    full_state_update = False
    total: Tensor
    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("weight", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def add(self, value: float, weight: float) -> None:
        """Add one clip's value."""
        if value == value and weight > 0:
            self.total = self.total + value * weight
            self.weight = self.weight + weight

    def compute(self) -> Tensor:
        """The mean over clips (scalar, float64)."""
        return self.total / self.weight
