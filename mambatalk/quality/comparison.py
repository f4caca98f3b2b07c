"""What has changed since an earlier look: clips that came, went or changed, and how far each
measure has moved.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from mambatalk.quality.drift import ALL, MODERATE, Shift, shifts
from mambatalk.quality.measures import Measure, measures, numeric, with_derived
from mambatalk.quality.rules import Rule
from mambatalk.reporting.picture import BASE, MODEL, draw

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes

PICTURED: Final = 6
WIDTH, HEIGHT = 420, 170
MOVED: Final = ("moderate", "large")


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """An earlier look at the same corpus, to compare with."""

    manifest: pd.DataFrame
    snapshot: str
    """Digest of the corpus as it was."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Then and now."""

    snapshot: str
    measures: list[Measure]
    rows: list[tuple[str, list[Shift]]]
    """Speaker, `ALL` first, and one shift for each measure."""
    moved: list[Shift]
    """What moved, farthest first."""
    changes: dict[str, list[str]]
    """What happened to clips, and to which."""
    pictures: list[tuple[str, "Markup"]]


def compare(earlier: Earlier, manifest: pd.DataFrame, rules: Sequence[Rule]) -> Comparison:
    """Compare two manifests in all that `measures` pictures."""
    before, now = with_derived(earlier.manifest), with_derived(manifest)
    known = [
        one
        for one in measures(pd.concat([before, now]), rules)
        if one.column in before and one.column in now
    ]
    found = shifts(before, now, [one.column for one in known])
    moved = sorted((one for one in found if one.reading in MOVED), key=lambda one: -(one.psi or 0))
    titles = {one.column: one for one in known}
    return Comparison(
        snapshot=earlier.snapshot,
        measures=known,
        moved=moved,
        changes=changes(before, now),
        rows=[
            (speaker, list(group)) for speaker, group in groupby(found, key=lambda one: one.speaker)
        ],
        pictures=[
            (_caption(one, titles[one.feature]), _picture(one, titles[one.feature], before, now))
            for one in moved[:PICTURED]
        ],
    )


def changes(before: pd.DataFrame, now: pd.DataFrame) -> dict[str, list[str]]:
    """Clips by what happened to them; kinds that happened to none are left out."""
    old, new = before.set_index("clip_id"), now.set_index("clip_id")
    both = [clip for clip in new.index if clip in old.index]
    digests = [name for name in new.columns if name.endswith("_sha256") and name in old]
    kinds = {
        "new": [clip for clip in new.index if clip not in old.index],
        "gone": [clip for clip in old.index if clip not in new.index],
        "changed in content": [clip for clip in both if _differs(old, new, clip, digests)],
        "moved to another split": [clip for clip in both if _differs(old, new, clip, ["split"])],
    }
    return {kind: [str(clip) for clip in clips] for kind, clips in kinds.items() if clips}


def _differs(old: pd.DataFrame, new: pd.DataFrame, clip: Any, columns: list[str]) -> bool:
    return any(
        old.at[clip, name] != new.at[clip, name]
        and not (pd.isna(old.at[clip, name]) and pd.isna(new.at[clip, name]))
        for name in columns
    )


def _who(shift: Shift) -> str:
    return "All speakers" if shift.speaker == ALL else f"Speaker {shift.speaker}"


def _caption(shift: Shift, measure: Measure) -> str:
    return (
        f"{_who(shift)}: {measure.title.lower()}, median {shift.median_before:.3g} then, {shift.median_now:.3g} now"
        f"{' ' + measure.unit if measure.unit else ''}; PSI {shift.psi:.2f}."
    )


def _picture(shift: Shift, measure: Measure, before: pd.DataFrame, now: pd.DataFrame) -> "Markup":
    samples = [
        np.sort(
            numeric(
                table[table["speaker"].astype(str).isin([shift.speaker]) | (shift.speaker == ALL)][
                    shift.feature
                ]
            )
            .dropna()
            .to_numpy()
        )
        for table in (before, now)
    ]

    def paint(axes: "Axes") -> None:
        for values, colour, width, name in zip(
            samples, (BASE, MODEL), (2.5, 1.5), ("then", "now"), strict=True
        ):
            axes.step(
                values,
                np.arange(1, len(values) + 1) / len(values),
                where="post",
                color=colour,
                linewidth=width,
                label=f"{name}, {len(values)} clips",
            )
        axes.set_ylim(0, 1.02)
        axes.set_ylabel("share of clips up to")
        axes.set_xlabel(measure.axis)
        axes.legend(frameon=False, loc="best")

    return draw(paint, width=WIDTH, height=HEIGHT, label=_caption(shift, measure))


def readings(comparison: Comparison) -> str:
    """The comparison in a sentence."""
    if not comparison.moved:
        tested = any(one.psi is not None for _, row in comparison.rows for one in row)
        return (
            f"No measure has moved: every PSI is below {MODERATE} or within what chance does."
            if tested
            else "Too few clips then or now to tell whether any measure has moved."
        )
    large = sum(one.reading == "large" for one in comparison.moved)
    count = len(comparison.moved)
    return f"{count} shift{'' if count == 1 else 's'} beyond chance, {large} of them large."
