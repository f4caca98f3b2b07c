"""Semantic-relevant gesture recall: the share of joints near the truth, weighted by what the gesture means."""

from collections.abc import Sequence
from typing import Protocol, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mambatalk.metrics.variant import ClipMean, Variant, check_variant
from mambatalk.motion.skeleton import FPS

THRESHOLD = 0.1
"""A joint nearer to the truth than this many metres is recalled."""
MEAN_WEIGHT = 0.165
"""Mean semantic weight of the first corpus the metric was made for, by which the published code divides."""


class Annotation(Protocol):
    """A stretch of a clip with a semantic weight, seconds."""

    @property
    def start(self) -> float:
        """Seconds."""
    @property
    def end(self) -> float:
        """Seconds."""
    @property
    def score(self) -> float:
        """Weight in [0, 1]."""


class SRGR(ClipMean):
    """Share of joints recalled, each frame weighted by its semantic score.

    Args:
        variant: `published` calls a joint recalled if |dx| + |dy| + |dz| < 0.1 m and divides weights by 0.165, so that
            perfect recall is mean weight / 0.165, not 1. `corrected` takes the Euclidean distance and divides by the
            weights that are there, so that perfect recall is 1.

    Source: BEAT metrics; published metrics.

    """

    higher_is_better = True

    def __init__(self, *, variant: Variant = "corrected") -> None:
        super().__init__()
        self.variant = check_variant(variant, get_args(Variant))

    def update(self, predicted: Tensor, truth: Tensor, weights: Tensor | None) -> None:
        """Add one clip.

        Args:
            predicted: Joints (n, J, 3) in metres, translation 0.
            truth: The same of the ground truth.
            weights: Semantic score of each frame (n,); a clip without annotations (none) leaves the mean.

        """
        if weights is None:
            return
        order = 1 if self.variant == "published" else 2
        recalled = ((predicted - truth).norm(p=order, dim=-1) < THRESHOLD).to(torch.float64).mean(-1)
        weights = weights.to(torch.float64)
        total = len(weights) * MEAN_WEIGHT if self.variant == "published" else float(weights.sum())
        value = float((recalled * weights).sum()) / total if total else float("nan")
        self.add(value, len(weights) if self.variant == "published" else total)


def semantic_weights(annotations: Sequence[Annotation], frames: int) -> NDArray[np.float32]:
    """Semantic score of each frame (n,) at 30 fps: of the first stretch that holds its time, else 0."""
    times, weights = np.arange(frames) / FPS, np.zeros(frames, np.float32)
    for stretch in reversed(annotations):
        weights[(times >= stretch.start) & (times <= stretch.end)] = stretch.score
    return weights
