"""Distributions by speaker: one figure per measure, with rule bounds and quarantined clips."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mambatalk.quality.measures import Measure, select_measures, to_numbers
from mambatalk.quality.pages.figures import DASHED
from mambatalk.quality.rules.rule import Rule
from mambatalk.reporting.picture import BAD, MODEL, SOFT, draw

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes

Values = NDArray[np.float64]
WIDTH: Final = 420
ROW_HEIGHT: Final = 17
FRAME_HEIGHT: Final = 44
MIN_QUANTILE_CLIPS: Final = 5
"""A speaker with fewer clips is drawn as points only."""
MARK_PLACES: Final = 60
"""Different places of crosses in a row."""
MAX_POINT_CLIPS: Final = 600
"""Largest number of clips of which each is drawn as a point; of more clips only those outside the
middle 90 % are."""


def plot_distributions(
    table: pd.DataFrame, rules: Sequence[Rule], quarantined: Collection[str]
) -> list[tuple[Measure, "Markup"]]:
    """Plot every measure, with one row per speaker.

    Args:
        table: One row per clip, with `clip_id`, `speaker` and `name`.
        rules: Their bounds are drawn where they lie inside the figure.
        quarantined: Ids of the clips to mark.

    """
    figures = []
    for measure in select_measures(table, rules):
        bounding = [rule for rule in rules if rule.column == measure.column]
        figures.append((measure, _plot(table, measure, bounding, quarantined)))
    return figures


def _plot(
    table: pd.DataFrame, measure: Measure, rules: Sequence[Rule], quarantined: Collection[str]
) -> "Markup":
    values = to_numbers(table[measure.column])
    marked = table["clip_id"].isin(quarantined)
    speakers = list(table.groupby("speaker").groups.items())
    low, high = _limits(values, values[~marked])

    def paint(axes: "Axes") -> None:
        for y, (_, index) in enumerate(speakers):
            of_speaker = values.loc[index]
            is_marked = marked.loc[index]
            accepted = of_speaker[~is_marked].dropna().to_numpy()
            _draw_quantiles(axes, y, accepted, all_points=len(table) <= MAX_POINT_CLIPS)
            _mark_quarantined(axes, y, of_speaker[is_marked].dropna().to_numpy(), low, high)
        _draw_bounds(axes, rules, low, high)
        labels = [f"{speaker} {_speaker_name(table, index)}" for speaker, index in speakers]
        axes.set_xlim(low, high)
        axes.set_ylim(len(speakers) - 0.4, -0.6)
        axes.set_yticks(range(len(speakers)), labels)
        axes.grid(False, axis="y")
        axes.tick_params(length=0)
        axes.tick_params("y", pad=9)
        # More labels of small numbers, such as 0.00015, would touch each other.
        axes.locator_params("x", nbins=6)
        axes.set_xlabel(measure.axis_label)

    label = (
        f"{measure.axis_label} of every clip, by speaker: median {values.median():.3g}, "
        f"{values.min():.3g} to {values.max():.3g}"
    )
    height = FRAME_HEIGHT + ROW_HEIGHT * len(speakers)
    return draw(paint, width=WIDTH, height=height, label=label)


def _draw_quantiles(axes: "Axes", y: int, values: Values, *, all_points: bool) -> None:
    """Draw one speaker: middle 90 % as a line, middle half as a bar, median as a tick.

    Quantiles of a few clips would only repeat the points, which are drawn larger instead.
    """
    if len(values) < MIN_QUANTILE_CLIPS:
        axes.plot(values, np.full(len(values), y), ".", color=MODEL, markersize=6, zorder=2)
        return
    q05, q25, median, q75, q95 = np.quantile(values, (0.05, 0.25, 0.5, 0.75, 0.95))
    axes.plot((q05, q95), (y, y), color=MODEL, linewidth=1, zorder=2)
    axes.plot(
        (q25, q75), (y, y), color=MODEL, linewidth=6, alpha=0.4, solid_capstyle="butt", zorder=2
    )
    axes.plot((median, median), (y - 0.3, y + 0.3), color=MODEL, linewidth=2, zorder=3)
    points = values if all_points else values[(values < q05) | (values > q95)]
    axes.plot(points, np.full(len(points), y), ".", color=MODEL, markersize=3, alpha=0.5, zorder=2)


def _mark_quarantined(axes: "Axes", y: int, values: Values, low: float, high: float) -> None:
    """Mark quarantined clips with a cross, or with an arrow at the edge if outside the limits."""
    for outside, marker, x in ((values < low, "<", low), (values > high, ">", high)):
        count = min(1, outside.sum())
        axes.plot(
            np.full(count, x),
            np.full(count, y),
            marker,
            color=BAD,
            markersize=6,
            clip_on=False,
            zorder=4,
        )
    # Crosses at one place hide each other, and thousands of them make a page of many megabytes.
    step = (high - low) / MARK_PLACES
    inside = values[(values >= low) & (values <= high)]
    inside = low + step * np.unique(np.round((inside - low) / step))
    axes.plot(
        inside,
        np.full(len(inside), y),
        "x",
        color=BAD,
        markersize=5,
        markeredgewidth=1.5,
        zorder=4,
    )


def _draw_bounds(axes: "Axes", rules: Sequence[Rule], low: float, high: float) -> None:
    for rule in rules:
        colour = SOFT if rule.severity == "warning" else BAD
        for bound in (rule.minimum, rule.maximum):
            if bound is not None and low <= bound <= high:
                axes.axvline(bound, color=colour, linewidth=1, linestyle=DASHED, zorder=1)


def _limits(values: "pd.Series[float]", accepted: "pd.Series[float]") -> tuple[float, float]:
    """Return limits from the accepted clips, so that one broken clip does not stretch the axis."""
    shown = accepted if accepted.nunique() > 1 else values
    low = float(shown.min())
    high = float(shown.max())
    margin = 0.06 * (high - low) or max(abs(high), 1.0) * 0.1
    return low - margin, high + margin


def _speaker_name(table: pd.DataFrame, index: Any) -> str:
    names = table.loc[index, "name"].unique()
    return str(names[0]) if len(names) == 1 else f"{names[0]} …"
