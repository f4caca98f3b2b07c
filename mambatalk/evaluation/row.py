"""One row of the metrics table: every metric of one method, in every variant."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torchmetrics import Metric

from mambatalk.evaluation.posing import Posed
from mambatalk.metrics import (
    LVD,
    SRGR,
    BeatConsistency,
    CodePerplexity,
    DeepestPenetration,
    FaceMSE,
    FloorPenetration,
    FootSkating,
    FootSkatingRatio,
    FrechetGestureDistance,
    HeightError,
    KernelDistance,
    L1Diversity,
    MotionCorrelation,
    MotionJerk,
    MotionRange,
    MotionSpeed,
    PostureError,
    RootDrift,
)
from mambatalk.metrics.beat_consistency import RULES
from mambatalk.metrics.catalogue import KID, METRICS, MOVING_PARTS, ROTATING_PARTS
from mambatalk.metrics.variant import ClipMean
from mambatalk.motion.kinematics import floor_height
from mambatalk.motion.skeleton import PARTS, Part

FGD_MULTIPLE = 32
"""Published FGD cuts a clip to a multiple of this many frames."""
Values = dict[str, dict[str, float | None]]
"""Value by metric and variant; None where undefined."""
ClipScores = dict[str, dict[str, tuple[float | None, float]]]
"""By metric and variant: the value of one clip, and its weight in the mean over clips."""


class Row:
    """Accumulates the metrics of one method over clips.

    Args:
        mean_velocity: Mean joint speeds (55,) in metres per second. If None, BC is null.
        fgd_dim: Feature channels of the FGD encoder. If None, FGD is null.

    """

    def __init__(self, mean_velocity: NDArray[np.floating] | None, fgd_dim: int | None) -> None:
        self.fgd = {}
        if fgd_dim:
            self.fgd = {
                variant: FrechetGestureDistance(fgd_dim, variant=variant) for variant in RULES
            }
        self.bc = {}
        if mean_velocity is not None:
            self.bc = {
                variant: BeatConsistency(mean_velocity, variant=variant) for variant in RULES
            }
        self.l1div = {
            "published": L1Diversity(variant="published"),
            "corrected": L1Diversity(),
            # The newer evaluator uses the published formula on other joint positions.
            "evaltools": L1Diversity(variant="published"),
        }
        self.mse = {"published": FaceMSE(variant="published"), "corrected": FaceMSE()}
        self.lvd = {"published": LVD(variant="published"), "corrected": LVD()}
        self.srgr = {variant: SRGR(variant=variant) for variant in RULES}
        self.kid = KernelDistance(fgd_dim) if fgd_dim else None
        self.codes = {part: CodePerplexity() for part in PARTS}
        self.motion = _motion_metrics()

    def add(
        self,
        motion: Posed,
        truth: Posed,
        *,
        waveform: NDArray[np.float32],
        weights: Tensor | None,
        still: int,
        codes: Mapping[Part, Tensor] | None = None,
    ) -> ClipScores:
        """Add one clip to every metric but FGD, which has no value for a single clip.

        Args:
            motion: The motion to score.
            truth: The recorded motion, of the same length.
            waveform: Audio (S,) at 16 kHz.
            weights: Semantic weight of each frame (n,). If None, the clip has no SRGR.
            still: Number of vertices that neither jaw nor expressions move.
            codes: Codes (n,) by part that the motion was made of. If None, the clip has no code
                perplexity.

        Returns:
            The clip's own values with their weights in the mean over clips.

        """
        return {
            "bc": {
                variant: _score(metric, _joints(motion, variant), waveform)
                for variant, metric in self.bc.items()
            },
            "l1div": {
                variant: _score(metric, _joints(motion, variant))
                for variant, metric in self.l1div.items()
            },
            "mse": {
                variant: _score(metric, motion.face, truth.face, still=still)
                for variant, metric in self.mse.items()
            },
            "lvd": {
                variant: _score(metric, motion.face, truth.face, still=still)
                for variant, metric in self.lvd.items()
            },
            "srgr": {
                variant: _score(metric, motion.joints, truth.joints, weights)
                for variant, metric in self.srgr.items()
            },
            **self._add_codes(codes),
            **self._add_motion(motion, truth),
        }

    def _add_codes(self, codes: Mapping[Part, Tensor] | None) -> ClipScores:
        nothing: tuple[float | None, float] = (None, 0.0)
        return {
            f"codes_{part}": {"corrected": _score(metric, codes[part]) if codes else nothing}
            for part, metric in self.codes.items()
        }

    def _add_motion(self, motion: Posed, truth: Posed) -> ClipScores:
        floor = floor_height(truth.feet.cpu().numpy())
        arguments: dict[str, tuple[Any, ...]] = {
            "root_drift": (motion.root,),
            "height_error": (motion.root, truth.root),
            "foot_skating": (motion.feet,),
            "skating_ratio": (motion.feet, floor),
            "penetration": (motion.feet, floor),
            "penetration_deepest": (motion.feet, floor),
        }
        for part in MOVING_PARTS:
            alone = (motion.parts[part],)
            compared = (motion.parts[part], truth.parts[part])
            arguments |= {f"{kind}_{part}": alone for kind in ("range", "speed", "jerk")}
            arguments |= {f"{kind}_{part}": compared for kind in ("correlation", "posture")}
        return {
            key: {"corrected": _score(metric, *arguments[key])}
            for key, metric in self.motion.items()
        }

    def add_features(self, features: dict[str, Tensor], *, truth: bool) -> None:
        """Add FGD features (m, D) by variant, of this method or of ground truth."""
        for variant, metric in self.fgd.items():
            metric.update(features[variant], truth=truth)
        if self.kid is not None:
            self.kid.update(features["corrected"], truth=truth)

    def compute(self) -> Values:
        """Return every metric over all clips."""
        values = {name: _all_variants(getattr(self, name)) for name in METRICS}
        values[KID.key] = _all_variants({"corrected": self.kid} if self.kid else {})
        values |= {
            f"codes_{part}": _all_variants({"corrected": metric} if metric.weight else {})
            for part, metric in self.codes.items()
        }
        values |= {key: _all_variants({"corrected": metric}) for key, metric in self.motion.items()}
        return values


def _motion_metrics() -> dict[str, ClipMean | DeepestPenetration]:
    """Return the metrics of `catalogue.MOTION` by key, except those of codes."""
    metrics: dict[str, ClipMean | DeepestPenetration] = {}
    for part in MOVING_PARTS:
        metrics[f"range_{part}"] = MotionRange()
        metrics[f"speed_{part}"] = MotionSpeed()
        metrics[f"jerk_{part}"] = MotionJerk()
        metrics[f"correlation_{part}"] = MotionCorrelation()
        if part in ROTATING_PARTS:
            metrics[f"posture_{part}"] = PostureError()
    return metrics | {
        "root_drift": RootDrift(),
        "height_error": HeightError(),
        "foot_skating": FootSkating(),
        "skating_ratio": FootSkatingRatio(),
        "penetration": FloorPenetration(),
        "penetration_deepest": DeepestPenetration(),
    }


def fgd_features(encoder: nn.Module, posed: Posed) -> dict[str, Tensor]:
    """Encode a clip, cut to a multiple of 32 frames, for FGD.

    Returns:
        Features (m, D) by variant; empty for a clip of fewer than 32 frames.

    """
    frames = len(posed.pose) // FGD_MULTIPLE * FGD_MULTIPLE
    if not frames:
        return {}
    published = encoder(posed.pose[None, :frames])[0]
    corrected = encoder(posed.pose_without_eyes[None, :frames])[0]
    return {"published": published, "corrected": corrected, "evaltools": published}


def _score(
    metric: ClipMean | DeepestPenetration, *arguments: Any, **options: Any
) -> tuple[float | None, float]:
    """Add a clip to a metric; return the clip's value and its weight in the mean."""
    before = float(metric.weight)
    value = _finite(metric(*arguments, **options))
    return value, float(metric.weight) - before


def _joints(posed: Posed, variant: str) -> Tensor:
    return posed.joints_evaltools if variant == "evaltools" else posed.joints


def _all_variants(metrics: Mapping[str, Metric]) -> dict[str, float | None]:
    values = {variant: _finite(metric.compute()) for variant, metric in metrics.items()}
    return {"published": None, "corrected": None} | values


def _finite(value: Tensor) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None
