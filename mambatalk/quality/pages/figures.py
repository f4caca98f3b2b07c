"""A figure with its caption, and the marks that several kinds of figure share."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from mambatalk.quality.rules.rule import Rule
from mambatalk.reporting.picture import SOFT

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes

WIDTH: Final = 640
HEIGHT: Final = 150
"""Size of a figure in pixels of the page."""
MAX_POINTS: Final = 600
"""A longer curve is drawn by the maximum of each group of frames, so that no spike is lost."""
FINGERS: Final = ("index", "middle", "pinky", "ring", "thumb")
"""Fingers of a hand in the order of SMPL-X."""
DASHED: Final = (0, (3, 2))
"""Matplotlib line style of bounds."""
Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Figure:
    """A caption with a figure; without one where the caption is enough."""

    caption: str
    svg: "Markup | None" = None


def mark_bounds(
    axes: "Axes", rule: Rule, values: Floats, *, along: Literal["x", "y"] = "y"
) -> None:
    """Draw a rule's bounds as lines where they are close enough to `values` to be visible.

    Args:
        axes: Axes to draw on.
        rule: Its minimum and maximum are drawn.
        values: The plotted values.
        along: Axis of the values: "y" draws horizontal lines, "x" vertical ones.

    """
    draw_line = axes.axhline if along == "y" else axes.axvline
    for bound in (rule.minimum, rule.maximum):
        if bound is not None and bound <= 1.2 * float(values.max()):
            draw_line(bound, color=SOFT, linewidth=1, linestyle=DASHED)


def shade_intervals(axes: "Axes", flags: NDArray[np.bool_], rate: float, colour: str) -> None:
    """Shade the background of each run of True, given `rate` flags per second.

    Args:
        axes: Axes with time in seconds along x.
        flags: Whether to shade, for each sample (n,).
        rate: Samples per second.
        colour: Colour of the background.

    """
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    padded = np.concatenate([[0], flags.astype(np.int8), [0]])
    edges = np.flatnonzero(np.diff(padded)) / rate
    if not len(edges):
        return
    # One shape of all intervals, because a shape each makes a page several times as large.
    boxes = [
        Path([(start, 0), (end, 0), (end, 1), (start, 1), (start, 0)], closed=True)
        for start, end in zip(edges[::2], edges[1::2], strict=True)
    ]
    across = axes.get_xaxis_transform()
    shape = Path.make_compound_path(*boxes)
    axes.add_patch(PathPatch(shape, transform=across, color=colour, alpha=0.35, linewidth=0))


def downsample_peaks(values: Floats) -> tuple[NDArray[np.int_], Floats]:
    """Reduce a curve to at most `MAX_POINTS` indices and values, keeping every peak."""
    step = -(-len(values) // MAX_POINTS) or 1
    starts = np.arange(0, len(values), step)
    return starts, np.maximum.reduceat(values, starts)


def scale_to_one(curve: Floats) -> Floats:
    """Scale a curve (n,) to 0 to 1; the extreme 2 % at each end are clipped."""
    if not len(curve):
        return curve
    low, high = np.quantile(curve, (0.02, 0.98))
    return np.clip((curve - low) / (high - low + 1e-9), 0, 1)
