"""Compare a manifest with a previous one: changed clips, and the drift of every measure."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from mambatalk.quality.drift import ALL_SPEAKERS, MODERATE, Sample, Shift, compute_shifts
from mambatalk.quality.measures import Measure, add_derived_columns, select_measures, to_numbers
from mambatalk.quality.pages.figures import Figure
from mambatalk.quality.rules.rule import Rule
from mambatalk.reporting.picture import BASE, MODEL, draw
from mambatalk.reporting.text import count_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_FIGURES: Final = 6
"""Shifts with a figure, the largest first."""
WIDTH: Final = 420
HEIGHT: Final = 170


@dataclass(frozen=True, kw_only=True)
class PreviousManifest:
    """The manifest of an earlier snapshot of the same corpus."""

    manifest: pd.DataFrame
    snapshot: str
    """Digest of the earlier snapshot."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Differences between the previous manifest and the current one."""

    snapshot: str
    """Digest of the previous snapshot."""
    measures: list[Measure]
    shifts_by_speaker: list[tuple[str, list[Shift]]]
    """Speaker, `ALL_SPEAKERS` first, and one shift per measure."""
    drifted: list[Shift]
    """Significant moderate and large shifts, the largest first."""
    clip_changes: dict[str, list[str]]
    """Clip ids by kind of change."""
    figures: list[Figure]


def compare_manifests(
    previous: PreviousManifest, manifest: pd.DataFrame, rules: Sequence[Rule]
) -> Comparison:
    """Compare two manifests in all measures that the report plots.

    Args:
        previous: Manifest of the earlier snapshot.
        manifest: Current manifest, one row per clip.
        rules: Rules whose columns are compared as well.

    Returns:
        Shifts of every measure by speaker, figures of the largest ones, and the changed clips.

    """
    before = add_derived_columns(previous.manifest)
    now = add_derived_columns(manifest)
    measures = [
        measure
        for measure in select_measures(pd.concat([before, now]), rules)
        if measure.column in before and measure.column in now
    ]
    shifts = compute_shifts(before, now, [measure.column for measure in measures])
    drifted = [shift for shift in shifts if shift.level in ("moderate", "large")]
    drifted.sort(key=lambda shift: -(shift.psi or 0))

    by_column = {measure.column: measure for measure in measures}
    by_speaker = groupby(shifts, key=lambda shift: shift.speaker)
    return Comparison(
        snapshot=previous.snapshot,
        measures=measures,
        shifts_by_speaker=[(speaker, list(group)) for speaker, group in by_speaker],
        drifted=drifted,
        clip_changes=find_clip_changes(before, now),
        figures=[
            _plot_shift(shift, by_column[shift.feature], before, now)
            for shift in drifted[:MAX_FIGURES]
        ],
    )


def find_clip_changes(before: pd.DataFrame, now: pd.DataFrame) -> dict[str, list[str]]:
    """Return clip ids by kind of change; kinds without a clip are left out."""
    old = before.set_index("clip_id")
    new = now.set_index("clip_id")
    in_both = [clip for clip in new.index if clip in old.index]
    digests = [name for name in new.columns if name.endswith("_sha256") and name in old]
    kinds = {
        "added": [clip for clip in new.index if clip not in old.index],
        "removed": [clip for clip in old.index if clip not in new.index],
        "changed in content": [clip for clip in in_both if _differs(old, new, clip, digests)],
        "moved to another split": [clip for clip in in_both if _differs(old, new, clip, ["split"])],
    }
    return {kind: [str(clip) for clip in clips] for kind, clips in kinds.items() if clips}


def summarize_drift(comparison: Comparison) -> str:
    """Summarise the drift in one sentence."""
    count = len(comparison.drifted)
    if count:
        large = sum(shift.level == "large" for shift in comparison.drifted)
        return f"{count} significant shift{'' if count == 1 else 's'} ({large} large)."
    tested = any(
        shift.psi is not None for _, shifts in comparison.shifts_by_speaker for shift in shifts
    )
    if tested:
        return f"No drift: every PSI is below {MODERATE} or not significant."
    return "Too few clips before or now to measure drift."


def _differs(old: pd.DataFrame, new: pd.DataFrame, clip: Any, columns: list[str]) -> bool:
    for name in columns:
        before = old.at[clip, name]
        now = new.at[clip, name]
        if before != now and not (pd.isna(before) and pd.isna(now)):
            return True
    return False


def _plot_shift(shift: Shift, measure: Measure, before: pd.DataFrame, now: pd.DataFrame) -> Figure:
    """Plot the cumulative distributions of a measure before and now."""
    curves = (
        ("before", _sorted_values(before, shift), BASE, 2.5),
        ("now", _sorted_values(now, shift), MODEL, 1.5),
    )

    def paint(axes: "Axes") -> None:
        for name, values, colour, width in curves:
            axes.step(
                values,
                np.arange(1, len(values) + 1) / len(values),
                where="post",
                color=colour,
                linewidth=width,
                label=f"{name}, {count_of(len(values), 'clip')}",
            )
        axes.set_ylim(0, 1.02)
        axes.set_ylabel("cumulative share of clips")
        axes.set_xlabel(measure.axis_label)
        axes.legend(frameon=False, loc="best")

    caption = describe_shift(shift, measure)
    return Figure(caption, draw(paint, width=WIDTH, height=HEIGHT, label=caption))


def _sorted_values(table: pd.DataFrame, shift: Shift) -> Sample:
    if shift.speaker != ALL_SPEAKERS:
        table = table[table["speaker"].astype(str) == shift.speaker]
    return np.sort(to_numbers(table[shift.feature]).dropna().to_numpy())


def describe_shift(shift: Shift, measure: Measure) -> str:
    """Return one sentence about a shift, with the medians and the PSI."""
    who = "All speakers" if shift.speaker == ALL_SPEAKERS else f"Speaker {shift.speaker}"
    unit = f" {measure.unit}" if measure.unit else ""
    return (
        f"{who}: {measure.title.lower()}, median {shift.median_before:.3g} before, "
        f"{shift.median_now:.3g}{unit} now; PSI {shift.psi:.2f}."
    )
