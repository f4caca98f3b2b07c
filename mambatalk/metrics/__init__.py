"""Metrics as torchmetrics classes: those of the field, in published and corrected form, and others.

Those of the field measure beats, faces and features. The others measure what these miss: parts that
stand still, a root that slides, and feet on or below the floor. Each metric is updated with one
clip at a time. `catalogue` holds their names and units.

Classes are imported on first use, so that `catalogue` can be imported without torchmetrics, which
imports matplotlib and transformers.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
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

_MODULES: Final = {
    "LVD": "face",
    "SRGR": "srgr",
    "BeatConsistency": "beat_consistency",
    "CodePerplexity": "codes",
    "DeepestPenetration": "ground",
    "FaceMSE": "face",
    "FloorPenetration": "ground",
    "FootSkating": "ground",
    "FootSkatingRatio": "ground",
    "FrechetGestureDistance": "frechet",
    "HeightError": "ground",
    "KernelDistance": "kernel",
    "L1Diversity": "diversity",
    "MotionCorrelation": "part_motion",
    "MotionJerk": "part_motion",
    "MotionRange": "part_motion",
    "MotionSpeed": "part_motion",
    "PostureError": "part_motion",
    "RootDrift": "ground",
}
"""Module of each class, within this package."""


def __getattr__(name: str) -> Any:
    """Import a class when it is first used (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Names of the module, with the classes that have not been imported yet."""
    return sorted({*globals(), *__all__})
