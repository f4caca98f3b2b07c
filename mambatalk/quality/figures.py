"""A picture with what is to be seen on it, and the marks that several pictures share."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from mambatalk.quality.rules import Rule
from mambatalk.reporting.picture import SOFT

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 640, 150
POINTS: Final = 600
"""A longer curve is drawn by the largest value of each stretch: no spike is lost."""
Frames = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Shown:
    """One picture, or none where words say it all, and what is to be seen."""

    caption: str
    picture: "Markup | None" = None


def mark_bound(axes: "Axes", rule: Rule, values: Frames, *, along: Literal["x", "y"] = "y") -> None:
    """Draw a rule's bounds where the picture of `values` reaches them."""
    for bound in (rule.minimum, rule.maximum):
        if bound is not None and bound <= 1.2 * float(values.max()):
            line = axes.axhline if along == "y" else axes.axvline
            line(bound, color=SOFT, linewidth=1, linestyle=(0, (3, 2)))


def mark_stretches(axes: "Axes", flags: NDArray[np.bool_], rate: float, colour: str) -> None:
    """Colour the ground of each stretch of True, so many flags a second."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        axes.axvspan(start / rate, end / rate, color=colour, alpha=0.35, linewidth=0)


def thinned(values: Frames) -> tuple[NDArray[np.int_], Frames]:
    """Places and values of at most `POINTS` points that keep every peak."""
    step = -(-len(values) // POINTS) or 1
    starts = np.arange(0, len(values), step)
    return starts, np.maximum.reduceat(values, starts)
