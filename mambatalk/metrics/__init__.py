"""Metrics as torchmetrics classes: those of the field, in published and corrected form, and others.

Those of the field judge beats, faces and features. The others see what these are blind to: parts
that stand still, a root that slides, and feet on or below the floor. Each metric is updated with
one clip at a time. `catalogue` holds their names and units.
"""

from mambatalk.metrics.beat_consistency import BeatConsistency
from mambatalk.metrics.codes import CodePerplexity
from mambatalk.metrics.diversity import L1Diversity
from mambatalk.metrics.face import LVD, FaceMSE
from mambatalk.metrics.frechet import FrechetGestureDistance
from mambatalk.metrics.ground import (
    DeepestPenetration,
    FloorPenetration,
    FootSkating,
    FootSkatingRatio,
    HeightError,
    RootDrift,
)
from mambatalk.metrics.kernel import KernelDistance
from mambatalk.metrics.part_motion import (
    MotionCorrelation,
    MotionJerk,
    MotionRange,
    MotionSpeed,
    PostureError,
)
from mambatalk.metrics.srgr import SRGR

__all__ = [
    "LVD",
    "SRGR",
    "BeatConsistency",
    "CodePerplexity",
    "DeepestPenetration",
    "FaceMSE",
    "FloorPenetration",
    "FootSkating",
    "FootSkatingRatio",
    "FrechetGestureDistance",
    "HeightError",
    "KernelDistance",
    "L1Diversity",
    "MotionCorrelation",
    "MotionJerk",
    "MotionRange",
    "MotionSpeed",
    "PostureError",
    "RootDrift",
]
