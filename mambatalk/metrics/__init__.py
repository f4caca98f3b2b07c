"""Metrics of the field as torchmetrics classes, each as published and corrected, fed clip by
clip.
"""

from mambatalk.metrics.beat_consistency import BeatConsistency
from mambatalk.metrics.diversity import L1Diversity
from mambatalk.metrics.face import LVD, FaceMSE
from mambatalk.metrics.frechet import FrechetGestureDistance
from mambatalk.metrics.srgr import SRGR

__all__ = ["LVD", "SRGR", "BeatConsistency", "FaceMSE", "FrechetGestureDistance", "L1Diversity"]
