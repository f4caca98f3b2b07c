"""Figures that show why a clip is flagged, such as its motion with the spike marked.

The column of a rule decides the kind of figure. A column without a special figure gets a histogram
of all clips with this clip's value marked, so that a new rule is illustrated without a change here.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from mambatalk.clips.row import Clip
from mambatalk.clips.store import ClipSource
from mambatalk.quality.measures import measure_for, to_numbers
from mambatalk.quality.pages.figures import DASHED, HEIGHT, WIDTH, Figure, mark_bounds
from mambatalk.quality.pages.lag import LAG_COLUMNS, plot_lag
from mambatalk.quality.pages.over_time import FRAME_SERIES, plot_over_time
from mambatalk.quality.pages.posture_figures import POSTURE_COLUMNS, plot_posture
from mambatalk.quality.pages.signals import (
    COPY_COLUMNS,
    LABEL_COLUMNS,
    SEMANTIC_COLUMNS,
    VOICE_COLUMNS,
    plot_copy,
    plot_labels,
    plot_order,
    plot_semantics,
    plot_voice,
)
from mambatalk.quality.pages.usual_figures import USUAL_COLUMNS, plot_shape, plot_usual
from mambatalk.quality.pages.waveform import WAVEFORM_COLUMNS, plot_waveform
from mambatalk.quality.rules.rule import Rule
from mambatalk.reporting.picture import BAD, BASE, MODEL, draw
from mambatalk.reporting.text import count_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LENGTH_COLUMNS: Final = ("length_gap", "length_ratio", "motion_seconds", "audio_seconds")
DUPLICATE_COLUMNS: Final = ("copies", "splits_of_content")


def evidence_figures(
    row: Mapping[str, Any], clip: Clip | None, rules: Sequence[Rule], store: ClipSource
) -> list[Figure]:
    """Draw the figures for the rules that a clip breaks, without repetitions.

    Args:
        row: The clip's row of the manifest.
        clip: The clip itself; None if it could not be read.
        rules: The rules that it breaks.
        store: All clips.

    """
    by_caption: dict[str, Figure] = {}
    for rule in rules:
        figure = _draw(row, clip, rule, store)
        if figure is not None:
            by_caption.setdefault(figure.caption, figure)
    return list(by_caption.values())


def _draw(
    row: Mapping[str, Any], clip: Clip | None, rule: Rule, store: ClipSource
) -> Figure | None:
    column = rule.column
    if column in DUPLICATE_COLUMNS:
        return _name_duplicates(row, store.manifest)
    if column in LENGTH_COLUMNS and not pd.isna(row["length_gap"]):
        return _plot_lengths(row)
    figure = None
    if clip is not None:
        figure = _draw_clip(row, clip, rule, store)
    return figure or _plot_histogram(row, rule, store.manifest)


def _draw_clip(row: Mapping[str, Any], clip: Clip, rule: Rule, store: ClipSource) -> Figure | None:
    column = rule.column
    if column == "largest_value" and row["largest_value_when"] == "betas":
        return plot_shape(row, clip, rule, store)
    if column in FRAME_SERIES:
        return plot_over_time(row, clip, rule)
    if column in POSTURE_COLUMNS:
        return plot_posture(row, clip, rule)
    if column in WAVEFORM_COLUMNS:
        return plot_waveform(clip)
    if column in LAG_COLUMNS:
        return plot_lag(row, clip, rule)
    if column in LABEL_COLUMNS:
        return plot_labels(row, clip, rule)
    if column in SEMANTIC_COLUMNS:
        return plot_semantics(clip)
    if column in VOICE_COLUMNS and isinstance(row["voice"], str):
        return plot_voice(row, store.manifest)
    if column in COPY_COLUMNS and isinstance(row[column], str):
        return plot_copy(row, clip, rule, store)
    if column in USUAL_COLUMNS:
        return plot_usual(row, clip, rule, store)
    if column == "order":
        return plot_order(clip, rule)
    return None


def _name_duplicates(row: Mapping[str, Any], manifest: pd.DataFrame) -> Figure:
    same_content = manifest["content"] == row["content"]
    duplicates = manifest[same_content & (manifest["clip_id"] != row["clip_id"])]
    names = [
        f"{clip_id} ({split})"
        for clip_id, split in zip(duplicates["clip_id"], duplicates["split"], strict=True)
    ]
    return Figure(f"Motion and audio files are identical to those of {', '.join(names)}.")


def _plot_lengths(row: Mapping[str, Any]) -> Figure:
    motion = float(row["motion_seconds"])
    audio = float(row["audio_seconds"])
    gap = abs(audio - motion)
    shorter = 0 if motion < audio else 1

    def paint(axes: "Axes") -> None:
        axes.barh((0, 1), (motion, audio), color=(MODEL, BASE), height=0.55)
        axes.barh(
            (shorter,),
            (gap,),
            left=min(motion, audio),
            height=0.55,
            fill=False,
            edgecolor=BAD,
            linestyle=DASHED,
        )
        axes.set_yticks((0, 1), ("motion", "audio"))
        axes.grid(False, axis="y")
        axes.set_xlabel("length (s)")

    caption = (
        f"The motion lasts {motion:.2f} s, the audio {audio:.2f} s: they differ by {gap:.2f} s."
    )
    return Figure(caption, draw(paint, width=WIDTH, height=90, label=caption))


def _plot_histogram(row: Mapping[str, Any], rule: Rule, manifest: pd.DataFrame) -> Figure | None:
    """Plot a histogram of all clips with this clip marked; None if the value is not a number."""
    if manifest[rule.column].dtype == bool:
        return None
    values = to_numbers(manifest[rule.column]).dropna().to_numpy()
    value = pd.to_numeric(row[rule.column], errors="coerce")
    if pd.isna(value) or not isinstance(value, int | float | np.number) or len(values) < 2:
        return None
    measure = measure_for(rule.column)
    edges = np.histogram_bin_edges(values, bins=40)

    def paint(axes: "Axes") -> None:
        axes.hist(values, bins=list(edges), color=BASE)
        mark_bounds(axes, rule, values, along="x")
        axes.plot(value, 0, "^", color=BAD, markersize=8, clip_on=False)
        axes.set_ylabel("number of clips")
        axes.set_xlabel(measure.axis_label)

    unit = f" {measure.unit}" if measure.unit else ""
    caption = (
        f"{measure.title}: {value:.4g}{unit} in this clip (triangle), among "
        f"{count_of(len(values), 'clip')}."
    )
    return Figure(caption, draw(paint, width=WIDTH, height=HEIGHT, label=caption))
