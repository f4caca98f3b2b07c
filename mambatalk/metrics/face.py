"""Errors of face vertices: mean square error and LVD.

The body is in its rest pose, so that only jaw and expressions count.
"""

from typing import get_args

import torch
from torch import Tensor

from mambatalk.metrics.variant import ClipMean, Variant, check_clip, check_variant


class _FaceMean(ClipMean):
    higher_is_better = False

    def __init__(self, *, variant: Variant = "corrected") -> None:
        super().__init__()
        self.variant = check_variant(variant, get_args(Variant))

    def _share(self, predicted: Tensor, truth: Tensor, still: int) -> float:
        """Return the factor that turns a mean over the face into the variant's mean.

        The published mean includes the vertices that do not move.
        """
        check_clip("face vertices", predicted, like=truth)
        check_clip("face vertices of the truth", truth)
        moving = predicted.shape[1]
        return moving / (moving + still) if self.variant == "published" else 1.0


class FaceMSE(_FaceMean):
    """Mean square error of vertex coordinates in square metres, averaged over frames.

    Args:
        variant: `published` divides by all vertices of the body, most of which cannot move;
            `corrected` by those of the face alone.

    Formula: mean of `(predicted - truth)^2` over frames, vertices and coordinates.

    Source: published trainer, test().

    """

    def update(self, predicted: Tensor, truth: Tensor, *, still: int = 0) -> None:
        """Add one clip.

        Args:
            predicted: Vertices (n, V, 3) in metres, posed by jaw and expressions alone.
            truth: The same of the ground truth.
            still: Number of further vertices of the body, which neither jaw nor expressions move.

        Raises:
            ValueError: The shapes differ, are not those of one clip, or a value is not finite.

        """
        share = self._share(predicted, truth, still)
        error = (predicted.to(torch.float64) - truth.to(torch.float64)).square().mean()
        self.add(float(error) * share, len(predicted))


class LVD(_FaceMean):
    """Velocity difference of face vertices in metres per frame, averaged over coordinates.

    Args:
        variant: `published` is a position error in spite of its name: mean |predicted[t+1] -
            truth[t+1]| over all vertices of the body, each clip weighted by its frames.
            `corrected` is mean |(predicted[t+1] - predicted[t]) - (truth[t+1] - truth[t])| over the
            face alone, weighted by the number of differences; a constant offset is not an error.

    Formula: mean of `|(predicted[t+1] - predicted[t]) - (truth[t+1] - truth[t])|` over frames,
    vertices and coordinates.

    Source: published trainer, test().

    """

    def update(self, predicted: Tensor, truth: Tensor, *, still: int = 0) -> None:
        """Add one clip, as in `FaceMSE`. A clip of one frame has no velocity and is left out."""
        share = self._share(predicted, truth, still)
        error = predicted.to(torch.float64) - truth.to(torch.float64)
        frames = len(error)
        if self.variant == "published":
            self.add(float(error[1:].abs().mean()) * share, frames)
        else:
            self.add(float(error.diff(dim=0).abs().mean()), frames - 1)
