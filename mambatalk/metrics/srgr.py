"""Semantic-relevant gesture recall: the share of joints near the truth, weighted by what the
gesture means.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mambatalk.errors import InputError
from mambatalk.metrics.variant import AnyVariant, ClipMean, check_clip, check_variant
from mambatalk.motion.skeleton import FPS

THRESHOLD = 0.1
"""A joint nearer to the truth than this many metres is recalled."""
MEAN_WEIGHT: Mapping[AnyVariant, float] = MappingProxyType(
    {"published": 0.165, "evaltools": 0.1672}
)
"""Mean semantic weight of the corpora that the metric was made for, by which public code
divides.
"""


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
        variant: `published` calls a joint recalled if |dx| + |dy| + |dz| < 0.1 m and divides
            weights by 0.165, so that perfect recall is mean weight / 0.165, not 1. `evaltools`, the
            newer public evaluator, takes the Euclidean distance and divides by 0.1672. `corrected`
            takes the Euclidean distance and divides by the weights that are there, so that perfect
            recall is 1.

    Source: BEAT metrics; published metrics.

    """

    higher_is_better = True

    def __init__(self, *, variant: AnyVariant = "corrected") -> None:
        super().__init__()
        self.variant = check_variant(variant, get_args(AnyVariant))

    def update(self, predicted: Tensor, truth: Tensor, weights: Tensor | None) -> None:
        """Add one clip.

        Args:
            predicted: Joints (n, J, 3) in metres, translation 0.
            truth: The same of the ground truth.
            weights: Semantic score of each frame (n,); a clip without annotations (none) leaves the
                mean.

        Raises:
            InputError: The shapes do not fit each other, or a value is not finite.

        """
        if weights is None:
            return
        check_clip("joints", predicted, like=truth)
        check_clip("joints of the truth", truth)
        if weights.shape != predicted.shape[:1] or not weights.isfinite().all():
            raise InputError(
                "semantic weights",
                f"expected one number for each of {len(predicted)} frames,"
                f" found shape {tuple(weights.shape)}, or a value that is not finite",
                "see semantic_weights",
            )
        order = 1 if self.variant == "published" else 2
        recalled = (
            ((predicted - truth).norm(p=order, dim=-1) < THRESHOLD).to(torch.float64).mean(-1)
        )
        weights = weights.to(torch.float64)
        own = float(weights.sum())
        total = own if self.variant == "corrected" else len(weights) * MEAN_WEIGHT[self.variant]
        value = float((recalled * weights).sum()) / total if total else float("nan")
        self.add(value, own if self.variant == "corrected" else len(weights))


def semantic_weights(annotations: Sequence[Annotation], frames: int) -> NDArray[np.float32]:
    """Semantic score of each frame (n,) at 30 fps: of the first stretch that holds its time, else
    0.
    """
    times, weights = np.arange(frames) / FPS, np.zeros(frames, np.float32)
    for stretch in reversed(annotations):
        weights[(times >= stretch.start) & (times <= stretch.end)] = stretch.score
    return weights
