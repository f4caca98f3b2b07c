"""Distributions by speaker: one picture for each measure, with the bounds of the rules and the
clips left out.
"""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mambatalk.quality.measures import Measure, measures, numeric
from mambatalk.quality.rules import Rule
from mambatalk.reporting.picture import BAD, MODEL, SOFT, draw

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes

WIDTH: Final = 420
ROW, FRAME = 17, 44
MANY: Final = 600
"""With more clips only the outer ones are points."""


def distributions(
    table: pd.DataFrame, rules: Sequence[Rule], left_out: Collection[str]
) -> list[tuple[Measure, "Markup"]]:
    """A picture of every measure, speakers below each other.

    Args:
        table: One row per clip, with `clip_id`, `speaker` and `name`.
        rules: Their bounds are drawn where they lie in the picture.
        left_out: Clips to mark.

    """
    return [
        (one, _picture(table, one, [rule for rule in rules if rule.column == one.column], left_out))
        for one in measures(table, rules)
    ]


def _picture(
    table: pd.DataFrame, measure: Measure, rules: Sequence[Rule], left_out: Collection[str]
) -> "Markup":
    values, marked = numeric(table[measure.column]), table["clip_id"].isin(left_out)
    groups = list(table.groupby("speaker").groups.items())
    low, high = _span(values, values[~marked])

    def paint(axes: "Axes") -> None:
        for place, (_, index) in enumerate(groups):
            kept = values.loc[index][~marked.loc[index]].dropna().to_numpy()
            _row(axes, place, kept, points=len(table) <= MANY)
            _marks(axes, place, values.loc[index][marked.loc[index]].dropna().to_numpy(), low, high)
        _bounds(axes, rules, low, high)
        axes.set_xlim(low, high)
        axes.set_ylim(len(groups) - 0.4, -0.6)
        axes.set_yticks(
            range(len(groups)), [f"{speaker} {_name(table, index)}" for speaker, index in groups]
        )
        axes.grid(False, axis="y")
        axes.tick_params(length=0)
        axes.tick_params("y", pad=9)
        axes.set_xlabel(measure.unit)

    return draw(
        paint,
        width=WIDTH,
        height=FRAME + ROW * len(groups),
        label=f"{measure.axis} of every clip, by speaker: median {values.median():.3g}, "
        f"{values.min():.3g} to {values.max():.3g}",
    )


def _row(axes: "Axes", place: int, values: NDArray[np.float64], *, points: bool) -> None:
    """One speaker: the middle half as a bar, the middle nine tenths as a line, the median as a
    tick.
    """
    if not len(values):
        return
    outer, lower, middle, upper, end = np.quantile(values, (0.05, 0.25, 0.5, 0.75, 0.95))
    axes.plot((outer, end), (place, place), color=MODEL, linewidth=1, zorder=2)
    axes.plot(
        (lower, upper),
        (place, place),
        color=MODEL,
        linewidth=6,
        alpha=0.4,
        solid_capstyle="butt",
        zorder=2,
    )
    axes.plot((middle, middle), (place - 0.3, place + 0.3), color=MODEL, linewidth=2, zorder=3)
    shown = values if points else values[(values < outer) | (values > end)]
    axes.plot(
        shown, np.full(len(shown), place), ".", color=MODEL, markersize=3, alpha=0.5, zorder=2
    )


def _marks(axes: "Axes", place: int, values: NDArray[np.float64], low: float, high: float) -> None:
    """Clips left out; what lies past the picture's end stands there as an arrow."""
    for beyond, marker, where in ((values < low, "<", low), (values > high, ">", high)):
        axes.plot(
            np.full(beyond.sum(), where),
            np.full(beyond.sum(), place),
            marker,
            color=BAD,
            markersize=6,
            clip_on=False,
            zorder=4,
        )
    inside = values[(values >= low) & (values <= high)]
    axes.plot(
        inside,
        np.full(len(inside), place),
        "x",
        color=BAD,
        markersize=5,
        markeredgewidth=1.5,
        zorder=4,
    )


def _bounds(axes: "Axes", rules: Sequence[Rule], low: float, high: float) -> None:
    for rule in rules:
        for bound in (rule.minimum, rule.maximum):
            if bound is not None and low <= bound <= high:
                axes.axvline(
                    bound,
                    color=SOFT if rule.severity == "warning" else BAD,
                    linewidth=1,
                    linestyle=(0, (3, 2)),
                    zorder=1,
                )


def _span(values: "pd.Series[float]", kept: "pd.Series[float]") -> tuple[float, float]:
    """Limits that show the clips kept, not what one broken clip says."""
    shown = kept if kept.nunique() > 1 else values
    low, high = float(shown.min()), float(shown.max())
    margin = 0.06 * (high - low) or max(abs(high), 1.0) * 0.1
    return low - margin, high + margin


def _name(table: pd.DataFrame, index: Any) -> str:
    names = table.loc[index, "name"].unique()
    return str(names[0]) if len(names) == 1 else f"{names[0]} …"
