"""One row of the metrics table: every metric in every variant, fed clip by clip."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from mambatalk.evaluation.posing import Posed
from mambatalk.metrics import (
    LVD,
    SRGR,
    BeatConsistency,
    FaceMSE,
    FrechetGestureDistance,
    L1Diversity,
)
from mambatalk.metrics.beat_consistency import RULES
from mambatalk.metrics.catalogue import METRICS
from mambatalk.metrics.variant import ClipMean

FGD_MULTIPLE = 32
"""Published FGD cuts a clip to a multiple of this many frames."""
Values = dict[str, dict[str, float | None]]
ClipScores = dict[str, dict[str, tuple[float | None, float]]]
"""By metric and variant: the clip's value, and its weight in the mean over clips."""


class Row:
    """One method's metrics.

    Args:
        mean_velocity: Mean joint speeds (55,) in metres a second, for BC; without them BC is null.
        fgd_dim: Feature channels of the FGD encoder; without one FGD is null.

    """

    def __init__(self, mean_velocity: NDArray[np.floating] | None, fgd_dim: int | None) -> None:
        self.fgd = (
            {variant: FrechetGestureDistance(fgd_dim, variant=variant) for variant in RULES}
            if fgd_dim
            else {}
        )
        self.bc = (
            {variant: BeatConsistency(mean_velocity, variant=variant) for variant in RULES}
            if mean_velocity is not None
            else {}
        )
        # The newer evaluator's diversity is the published one of other positions.
        self.l1div = {
            "published": L1Diversity(variant="published"),
            "corrected": L1Diversity(),
            "evaltools": L1Diversity(variant="published"),
        }
        self.mse = {"published": FaceMSE(variant="published"), "corrected": FaceMSE()}
        self.lvd = {"published": LVD(variant="published"), "corrected": LVD()}
        self.srgr = {variant: SRGR(variant=variant) for variant in RULES}

    def add(
        self,
        motion: Posed,
        truth: Posed,
        *,
        wave: NDArray[np.float32],
        weights: Tensor | None,
        still: int,
    ) -> ClipScores:
        """Add a clip and return its own values with what each weighs; FGD is fed apart, having none
        for one clip.
        """
        face = {"still": still}
        return {
            "bc": {
                variant: _clip(metric, _joints(motion, variant), wave)
                for variant, metric in self.bc.items()
            },
            "l1div": {
                variant: _clip(metric, _joints(motion, variant))
                for variant, metric in self.l1div.items()
            },
            "mse": {
                variant: _clip(metric, motion.face, truth.face, **face)
                for variant, metric in self.mse.items()
            },
            "lvd": {
                variant: _clip(metric, motion.face, truth.face, **face)
                for variant, metric in self.lvd.items()
            },
            "srgr": {
                variant: _clip(metric, motion.joints, truth.joints, weights)
                for variant, metric in self.srgr.items()
            },
        }

    def add_features(self, features: dict[str, Tensor], *, truth: bool) -> None:
        """Add FGD features by variant (m, D), of this method or of ground truth."""
        for variant, metric in self.fgd.items():
            metric.update(features[variant], truth=truth)

    def compute(self) -> Values:
        """Every metric over all clips; null where undefined."""
        return {name: _all_variants(getattr(self, name)) for name in METRICS}


def fgd_features(encoder: nn.Module, posed: Posed) -> dict[str, Tensor]:
    """FGD features (m, D) by variant of one whole clip cut to a multiple of 32 frames; none below
    32 frames.
    """
    frames = len(posed.pose) // FGD_MULTIPLE * FGD_MULTIPLE
    if not frames:
        return {}
    published, corrected = (
        encoder(pose[None, :frames])[0] for pose in (posed.pose, posed.pose_without_eyes)
    )
    return {"published": published, "corrected": corrected, "evaltools": published}


def _clip(metric: ClipMean, *arguments: Any, **options: Any) -> tuple[float | None, float]:
    """The clip's value, and what it weighs in the mean."""
    before = float(metric.weight)
    value = _value(metric(*arguments, **options))
    return value, float(metric.weight) - before


def _joints(posed: Posed, variant: str) -> Tensor:
    return posed.joints_evaltools if variant == "evaltools" else posed.joints


def _all_variants(metrics: dict[str, ClipMean | FrechetGestureDistance]) -> dict[str, float | None]:
    values = {variant: _value(metric.compute()) for variant, metric in metrics.items()}
    return {"published": None, "corrected": None} | values


def _value(value: Tensor) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None
