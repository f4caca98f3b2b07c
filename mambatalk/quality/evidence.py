"""Why a clip is left out, as a picture: its motion over time with the spike marked, its sound with
the silence, ...

A rule's column decides which picture. A column that none is made for gets the picture that any
number has: where this clip lies among all others. So a new rule is shown without a change here.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from mambatalk.clips.row import Clip
from mambatalk.quality.figures import HEIGHT, WIDTH, Shown, mark_bound
from mambatalk.quality.lag import LAG_COLUMNS, lagging
from mambatalk.quality.measures import measure_of, numeric
from mambatalk.quality.over_time import OVER_TIME, over_time
from mambatalk.quality.rules import Rule
from mambatalk.quality.sound import SOUND_COLUMNS, sound
from mambatalk.reporting.picture import BAD, BASE, MODEL, draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LENGTH_COLUMNS: Final = ("length_gap", "length_ratio", "motion_seconds", "audio_seconds")
CONTENT_COLUMNS: Final = ("copies", "splits_of_content")


def evidence(
    row: Mapping[str, Any], clip: Clip | None, rules: Sequence[Rule], table: pd.DataFrame
) -> list[Shown]:
    """Pictures for the rules that a clip breaks, each once.

    Args:
        row: The clip's row of `table`.
        clip: None where the store could not read it.
        rules: Those it breaks.
        table: The manifest.

    """
    found: dict[str, Shown] = {}
    for rule in rules:
        one = _shown(row, clip, rule, table)
        if one is not None:
            found.setdefault(one.caption, one)
    return list(found.values())


def _shown(
    row: Mapping[str, Any], clip: Clip | None, rule: Rule, table: pd.DataFrame
) -> Shown | None:
    if rule.column in CONTENT_COLUMNS:
        return _twins(row, table)
    if rule.column in LENGTH_COLUMNS and not pd.isna(row["length_gap"]):
        return _lengths(row)
    if clip is not None and rule.column in OVER_TIME:
        return over_time(row, clip, rule)
    if clip is not None and rule.column in SOUND_COLUMNS:
        return sound(clip)
    if clip is not None and rule.column in LAG_COLUMNS:
        return lagging(row, clip, rule)
    return _among(row, rule, table)


def _twins(row: Mapping[str, Any], table: pd.DataFrame) -> Shown:
    twins = table[(table["content"] == row["content"]) & (table["clip_id"] != row["clip_id"])]
    named = ", ".join(
        f"{clip} ({split})" for clip, split in zip(twins["clip_id"], twins["split"], strict=True)
    )
    return Shown(f"Motion and sound are byte for byte those of {named}.")


def _lengths(row: Mapping[str, Any]) -> Shown:
    motion, sound = float(row["motion_seconds"]), float(row["audio_seconds"])

    def paint(axes: "Axes") -> None:
        axes.barh((0, 1), (motion, sound), color=(MODEL, BASE), height=0.55)
        axes.barh(
            (0 if motion < sound else 1,),
            (abs(sound - motion),),
            left=min(motion, sound),
            height=0.55,
            fill=False,
            edgecolor=BAD,
            linestyle=(0, (3, 2)),
        )
        axes.set_yticks((0, 1), ("motion", "sound"))
        axes.grid(False, axis="y")
        axes.set_xlabel("s")

    caption = (
        f"Motion lasts {motion:.2f} s, sound {sound:.2f} s: {abs(sound - motion):.2f} s apart."
    )
    return Shown(caption, draw(paint, width=WIDTH, height=90, label=caption))


def _among(row: Mapping[str, Any], rule: Rule, table: pd.DataFrame) -> Shown | None:
    """Where this clip's number lies among all clips'; nothing where it has no number."""
    if table[rule.column].dtype == bool:
        return None
    values, measure = numeric(table[rule.column]).dropna().to_numpy(), measure_of(rule.column)
    value = pd.to_numeric(row[rule.column], errors="coerce")
    if pd.isna(value) or not isinstance(value, int | float | np.number) or len(values) < 2:
        return None
    edges = np.histogram_bin_edges(values, bins=40)

    def paint(axes: "Axes") -> None:
        axes.hist(values, bins=list(edges), color=BASE)
        mark_bound(axes, rule, values, along="x")
        axes.plot(value, 0, "^", color=BAD, markersize=8, clip_on=False)
        axes.set_ylabel("clips")
        axes.set_xlabel(measure.axis)

    caption = (
        f"{measure.title}: {value:.4g} {measure.unit}".rstrip()
        + f" here, among {len(values)} clips."
    )
    return Shown(caption, draw(paint, width=WIDTH, height=HEIGHT, label=caption))
