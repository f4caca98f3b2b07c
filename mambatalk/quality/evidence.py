"""Why a clip is left out, as a picture: its motion over time with the spike marked, its sound with the silence, ...

A rule's column decides which picture. A column that none is made for gets the picture that any number has: where this
clip lies among all others. So a new rule is shown without a change here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mambatalk.data.checks import Rule
from mambatalk.data.clips import Clip
from mambatalk.data.statistics import BLOCK, SILENCE, STILL, block_loudness, joint_speed
from mambatalk.motion.skeleton import FPS, JOINTS, SAMPLE_RATE
from mambatalk.page.picture import BAD, BASE, LINE, MODEL, SOFT, draw
from mambatalk.quality.measures import measure_of, numeric

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 640, 150
POINTS: Final = 600
"""A longer curve is drawn by the largest value of each stretch: no spike is lost."""
SOUND_COLUMNS: Final = ("peak", "loudness", "clipped_share", "silent_share", "words", "word_share", "word_contrast",
                        "words_past_end", "has_textgrid", "sample_rate", "channels", "container")
LENGTH_COLUMNS: Final = ("length_gap", "motion_seconds", "audio_seconds")
CONTENT_COLUMNS: Final = ("copies", "splits_of_content")
Frames = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Shown:
    """One picture, or none where words say it all, and what is to be seen."""

    caption: str
    picture: "Markup | None" = None


def evidence(row: Mapping[str, Any], clip: Clip | None, rules: Sequence[Rule], table: pd.DataFrame) -> list[Shown]:
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


def _shown(row: Mapping[str, Any], clip: Clip | None, rule: Rule, table: pd.DataFrame) -> Shown | None:
    if rule.column in CONTENT_COLUMNS:
        return _twins(row, table)
    if rule.column in LENGTH_COLUMNS and not pd.isna(row["length_gap"]):
        return _lengths(row)
    if clip is not None and rule.column in OVER_TIME:
        return _over_time(row, clip, rule)
    if clip is not None and rule.column in SOUND_COLUMNS:
        return _sound(clip)
    return _among(row, rule, table)


def _twins(row: Mapping[str, Any], table: pd.DataFrame) -> Shown:
    twins = table[(table["content"] == row["content"]) & (table["clip_id"] != row["clip_id"])]
    named = ", ".join(f"{clip} ({split})" for clip, split in zip(twins["clip_id"], twins["split"], strict=True))
    return Shown(f"Motion and sound are byte for byte those of {named}.")


def _lengths(row: Mapping[str, Any]) -> Shown:
    motion, sound = float(row["motion_seconds"]), float(row["audio_seconds"])

    def paint(axes: "Axes") -> None:
        axes.barh((0, 1), (motion, sound), color=(MODEL, BASE), height=0.55)
        axes.barh((0 if motion < sound else 1,), (abs(sound - motion),), left=min(motion, sound), height=0.55,
                  fill=False, edgecolor=BAD, linestyle=(0, (3, 2)))
        axes.set_yticks((0, 1), ("motion", "sound"))
        axes.grid(False, axis="y")
        axes.set_xlabel("s")

    caption = f"Motion lasts {motion:.2f} s, sound {sound:.2f} s: {abs(sound - motion):.2f} s apart."
    return Shown(caption, draw(paint, width=WIDTH, height=90, label=caption))


@dataclass(frozen=True)
class Series:
    """Numbers over time: (frames, things) and the things' names where there is more than one."""

    title: str
    unit: str
    values: Callable[[Clip], Frames]
    names: tuple[str, ...] | None = None


def _jerk(clip: Clip) -> Frames:
    return np.abs(np.diff(joint_speed(np.nan_to_num(clip.poses)), axis=0)) * FPS


def _not_finite(clip: Clip) -> Frames:
    arrays = (clip.poses, clip.trans, clip.expressions)
    return np.sum([(~np.isfinite(array)).sum(axis=1) for array in arrays], axis=0)[:, None].astype(np.float64)


SPEED: Final = Series("Fastest joint", "rad/s", lambda clip: joint_speed(np.nan_to_num(clip.poses)), JOINTS)
OVER_TIME: Final[Mapping[str, Series]] = {
    "max_joint_speed": SPEED,
    "frozen_seconds": SPEED,
    "max_joint_acceleration": Series("Hardest jerk", "rad/s²", _jerk, JOINTS),
    "max_angle": Series("Largest rotation", "rad", lambda clip: np.linalg.norm(
        clip.poses.reshape(len(clip.poses), -1, 3), axis=-1), JOINTS),
    "max_translation_speed": Series("Speed of the body", "m/s", lambda clip: np.linalg.norm(
        np.diff(clip.trans, axis=0), axis=-1)[:, None] * FPS),
    "translation_range": Series("Way from where the body began", "m", lambda clip: np.linalg.norm(
        clip.trans[:, (0, 2)] - clip.trans[0, (0, 2)], axis=-1)[:, None]),
    "max_expression": Series("Strongest expression", "", lambda clip: np.abs(clip.expressions)),
    "not_finite": Series("Values that are no numbers", "per frame", _not_finite),
}
"""What to draw over time, by the column that is judged."""


def _over_time(row: Mapping[str, Any], clip: Clip, rule: Rule) -> Shown:
    series = OVER_TIME[rule.column]
    values = np.nan_to_num(series.values(clip), posinf=0, neginf=0)
    largest, rate = values.max(axis=1), float(row["fps"])
    peak = int(largest.argmax())
    still = np.all(values < STILL * FPS, axis=1) if rule.column == "frozen_seconds" else np.zeros(len(values), bool)

    def paint(axes: "Axes") -> None:
        _stretches(axes, still, rate, BAD)
        at, drawn = _thinned(largest)
        axes.plot(at / rate, drawn, color=MODEL, linewidth=1)
        if rule.column != "frozen_seconds":
            axes.plot(peak / rate, largest[peak], "o", color=BAD, markersize=6, fillstyle="none", markeredgewidth=1.5)
            _bound(axes, rule, largest)
        axes.set_xlim(0, len(largest) / rate)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("s")
        axes.set_ylabel(series.unit)

    caption = _told(series, values, still, rate, rule)
    return Shown(caption, draw(paint, width=WIDTH, height=HEIGHT, label=caption))


def _told(series: Series, values: Frames, still: NDArray[np.bool_], rate: float, rule: Rule) -> str:
    """The curve in a sentence."""
    if still.any():
        return f"{series.title} in each frame; in the marked {still.sum() / rate:.1f} s no joint moves at all."
    frame, thing = np.unravel_index(values.argmax(), values.shape)
    what = f" ({series.names[thing].replace('_', ' ')})" if series.names else ""
    over = int((values.max(axis=1) > rule.maximum).sum()) if rule.maximum is not None else 0
    tail = f"; {over} frame{'' if over == 1 else 's'} above the bound" if over else ""
    return (f"{series.title} in each frame: {values.max():.3g} {series.unit} at {frame / rate:.2f} s{what}".rstrip()
            + f"{tail}.")


def _sound(clip: Clip) -> Shown:
    wave = clip.wave
    quiet = block_loudness(wave) < SILENCE
    length = -(-len(wave) // POINTS) or 1
    padded = np.pad(wave, (0, -len(wave) % length)).reshape(-1, length)
    limit = max(0.1, 1.1 * float(np.abs(wave).max(initial=0)))

    def paint(axes: "Axes") -> None:
        _stretches(axes, quiet, SAMPLE_RATE / BLOCK, LINE)
        at = np.arange(len(padded)) * length / SAMPLE_RATE
        axes.fill_between(at, padded.min(axis=1), padded.max(axis=1), color=MODEL, linewidth=0.4)
        for word in clip.words or ():
            if word.text.strip():
                axes.plot((word.start, word.end), (-limit, -limit), color=SOFT, linewidth=4, solid_capstyle="butt",
                          clip_on=False)
        axes.set_xlim(0, len(wave) / SAMPLE_RATE)
        axes.set_ylim(-limit, limit)
        axes.set_xlabel("s")

    words = "no TextGrid" if clip.words is None else "bars below are words"
    silent = quiet.mean() if len(quiet) else 1.0
    caption = f"Sound; grey ground is silence (below −50 dB), {silent:.0%} of it; {words}."
    return Shown(caption, draw(paint, width=WIDTH, height=HEIGHT, label=caption))


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
        _bound(axes, rule, values, along="x")
        axes.plot(value, 0, "^", color=BAD, markersize=8, clip_on=False)
        axes.set_ylabel("clips")
        axes.set_xlabel(measure.axis)

    caption = f"{measure.title}: {value:.4g} {measure.unit}".rstrip() + f" here, among {len(values)} clips."
    return Shown(caption, draw(paint, width=WIDTH, height=HEIGHT, label=caption))


def _bound(axes: "Axes", rule: Rule, values: Frames, *, along: str = "y") -> None:
    for bound in (rule.minimum, rule.maximum):
        if bound is not None and bound <= 1.2 * float(values.max()):
            line = axes.axhline if along == "y" else axes.axvline
            line(bound, color=SOFT, linewidth=1, linestyle=(0, (3, 2)))


def _stretches(axes: "Axes", flags: NDArray[np.bool_], rate: float, colour: str) -> None:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        axes.axvspan(start / rate, end / rate, color=colour, alpha=0.35, linewidth=0)


def _thinned(values: Frames) -> tuple[NDArray[np.int_], Frames]:
    step = -(-len(values) // POINTS) or 1
    starts = np.arange(0, len(values), step)
    return starts, np.maximum.reduceat(values, starts)
