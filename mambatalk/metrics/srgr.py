"""Semantic-relevant gesture recall (SRGR): the share of joints that are close to the truth.

Frames are weighted by the semantic relevance of the gesture.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mambatalk.metrics.variant import AnyVariant, ClipMean, check_clip, check_variant
from mambatalk.motion.skeleton import FPS

THRESHOLD = 0.1
"""A joint is recalled if its distance from the truth is below this many metres."""
MEAN_WEIGHT: Mapping[AnyVariant, float] = MappingProxyType(
    {"published": 0.165, "evaltools": 0.1672}
)
"""Divisors of the public implementations: mean semantic weights of the corpora they were written
for."""


class Annotation(Protocol):
    """A part of a clip with a semantic weight."""

    @property
    def start(self) -> float:
        """Start in seconds."""

    @property
    def end(self) -> float:
        """End in seconds."""

    @property
    def score(self) -> float:
        """Weight in [0, 1]."""


class SRGR(ClipMean):
    """Share of recalled joints, each frame weighted by its semantic score.

    Args:
        variant: `published` recalls a joint if |dx| + |dy| + |dz| < 0.1 m and divides the weights
            by 0.165, so that perfect recall is mean weight / 0.165 instead of 1. `evaltools`, the
            newer public evaluator, uses the Euclidean distance and divides by 0.1672. `corrected`
            uses the Euclidean distance and divides by the sum of the weights, so that perfect
            recall is 1.

    Formula: `sum of w[t] r[t] / sum of w[t]`, w being the semantic score of frame t, and r the
    share of its joints within 0.1 m of the recording.

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
            weights: Semantic score of each frame (n,). If None, the clip is left out.

        Raises:
            ValueError: The shapes do not match, or a value is not finite.

        """
        if weights is None:
            return
        check_clip("joints", predicted, like=truth)
        check_clip("joints of the truth", truth)
        if weights.shape != predicted.shape[:1] or not weights.isfinite().all():
            raise ValueError(
                f"semantic weights: expected one finite number for each of {len(predicted)} frames,"
                f" found shape {tuple(weights.shape)} or a value that is not finite"
            )
        order = 1 if self.variant == "published" else 2
        distance = (predicted - truth).norm(p=order, dim=-1)
        recalled = (distance < THRESHOLD).to(torch.float64).mean(-1)
        weights = weights.to(torch.float64)
        weight_sum = float(weights.sum())
        if self.variant == "corrected":
            divisor = clip_weight = weight_sum
        else:
            divisor = len(weights) * MEAN_WEIGHT[self.variant]
            clip_weight = len(weights)
        value = float((recalled * weights).sum()) / divisor if divisor else float("nan")
        self.add(value, clip_weight)


def semantic_weights(annotations: Sequence[Annotation], frames: int) -> NDArray[np.float32]:
    """Return the semantic score of each frame (n,) at 30 fps.

    It is that of the first annotation that contains the frame's time, and 0 without one.
    """
    times = np.arange(frames) / FPS
    weights = np.zeros(frames, np.float32)
    # In reverse order, so that the first annotation is written last.
    for annotation in reversed(annotations):
        inside = (times >= annotation.start) & (times <= annotation.end)
        weights[inside] = annotation.score
    return weights
