"""Metrics of the field as torchmetrics classes, in published and corrected form.

Each metric is updated with one clip at a time. `catalogue` holds their names and units.
"""

from mambatalk.metrics.beat_consistency import BeatConsistency
from mambatalk.metrics.diversity import L1Diversity
from mambatalk.metrics.face import LVD, FaceMSE
from mambatalk.metrics.frechet import FrechetGestureDistance
from mambatalk.metrics.srgr import SRGR

__all__ = ["LVD", "SRGR", "BeatConsistency", "FaceMSE", "FrechetGestureDistance", "L1Diversity"]
