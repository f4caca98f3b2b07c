"""Figures of labels, order, voices and copies, with the fault marked."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from mambatalk.clips.alignment import loudness_by_frame
from mambatalk.clips.continuity import ORDER_FRAMES, order_by_interval
from mambatalk.clips.labels import unlabelled_intervals
from mambatalk.clips.landmarks import moving_mean
from mambatalk.clips.near_duplicates import find_near_duplicates
from mambatalk.clips.row import Clip
from mambatalk.clips.statistics import SEMANTIC_LABELS, joint_speed
from mambatalk.clips.store import ClipSource
from mambatalk.clips.voice import BANDS, decode_voice
from mambatalk.motion.skeleton import FPS, PART_JOINTS, SAMPLE_RATE
from mambatalk.quality.pages.figures import DASHED, HEIGHT, WIDTH, Figure, Floats, scale_to_one
from mambatalk.quality.rules.rule import Rule
from mambatalk.reporting.picture import BAD, BASE, MODEL, SOFT, draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LABEL_COLUMNS: Final = (
    "phone_like_words",
    "phones_per_word",
    "repeated_word",
    "edges_off_phones",
    "word_length_fit",
    "unlabelled_speech",
    "foreign_script",
)
SEMANTIC_COLUMNS: Final = (
    "semantic_overlap",
    "semantic_duration_error",
    "semantic_past_end",
    "semantic_unknown",
    "semantic_score",
)
VOICE_COLUMNS: Final = ("voice_distance", "voice_of")
COPY_COLUMNS: Final = ("motion_duplicate", "audio_duplicate", "split_leak")
EXCERPT: Final = 6.0
"""Seconds of words that are shown: long enough for some words, short enough to read them."""
MAX_TEXT: Final = 14
"""Characters of a word that are shown."""
MAX_ANNOTATIONS: Final = 24
"""Rows of a semantic annotation that are shown."""


def plot_labels(row: Mapping[str, Any], clip: Clip, rule: Rule) -> Figure:
    """Plot loudness, words and phones of an excerpt; speech without words is shaded.

    Args:
        row: The clip's row of the manifest.
        clip: The clip itself.
        rule: A rule on one of `LABEL_COLUMNS`.

    """
    loudness = loudness_by_frame(clip.waveform)
    words = [word for word in clip.words or () if word.text.strip()]
    phones = [phone for phone in clip.phones or () if phone.text.strip()]
    gaps = unlabelled_intervals(words, clip.waveform)
    seconds = len(loudness) / FPS
    if rule.column == "unlabelled_speech" and gaps:
        start = gaps[0][0] - 1
    else:
        start = words[len(words) // 2].start - EXCERPT / 2 if words else 0.0
    start = float(np.clip(start, 0, max(0.0, seconds - EXCERPT)))
    end = start + EXCERPT

    def paint(axes: "Axes") -> None:
        shown = slice(int(start * FPS), int(end * FPS))
        times = np.arange(len(loudness))[shown] / FPS
        axes.fill_between(times, 2.1, 2.1 + scale_to_one(loudness[shown]), color=BASE, linewidth=0)
        for gap_start, gap_end in gaps:
            axes.axvspan(gap_start, gap_end, color=BAD, alpha=0.25, linewidth=0)
        for base, items, size in ((1.1, words, 8), (0.1, phones, 6)):
            for item in items:
                if item.end > start and item.start < end:
                    axes.plot((item.start,) * 2, (base, base + 0.8), color=SOFT, linewidth=0.6)
                    axes.text(
                        (max(item.start, start) + min(item.end, end)) / 2,
                        base + 0.4,
                        item.text[:MAX_TEXT],
                        fontsize=size,
                        ha="center",
                        va="center",
                        clip_on=True,
                    )
        axes.set_xlim(start, end)
        axes.set_ylim(0, 3.2)
        axes.set_yticks((2.6, 1.5, 0.5), ("audio", "words", "phones"))
        axes.grid(False)
        axes.set_xlabel("time (s)")

    caption = f"Words and phones of the clip from {start:.1f} to {end:.1f} s."
    if gaps:
        first = gaps[0][0]
        caption = caption[:-1] + f"; speech without words is red, first at {first:.1f} s."
    return Figure(caption, draw(paint, width=WIDTH, height=HEIGHT, label=caption))


def plot_semantics(clip: Clip) -> Figure:
    """Plot the semantic annotation up to some rows after the first wrong one.

    Rows that cannot be right are marked.
    """
    rows = sorted(clip.semantics or (), key=lambda row: (row.start, row.end))
    seconds = len(clip.waveform) / SAMPLE_RATE
    wrong = set()
    for number, row in enumerate(rows):
        if (
            abs(row.end - row.start - row.duration) > 0.1
            or row.end > seconds + 1
            or row.name not in SEMANTIC_LABELS
            or abs(row.score) > 1
        ):
            wrong.add(number)
        if number and rows[number - 1].end - row.start > 0.05:
            wrong |= {number - 1, number}
    last = min(len(rows), MAX_ANNOTATIONS + min(wrong, default=0))
    offset = max(0, last - MAX_ANNOTATIONS)
    shown = rows[offset:last]

    def paint(axes: "Axes") -> None:
        for line, row in enumerate(shown):
            colour = BAD if line + offset in wrong else MODEL
            axes.barh(line, max(row.end - row.start, 0.05), left=row.start, color=colour)
        names = [row.name if abs(row.score) <= 1 else f"{row.name}, {row.score:g}" for row in shown]
        axes.set_yticks(range(len(shown)), names)
        axes.axvline(seconds, color=SOFT, linewidth=1, linestyle=DASHED)
        axes.invert_yaxis()
        axes.grid(False, axis="y")
        axes.set_xlabel("time (s)")

    caption = (
        f"Semantic labels over time, and the end of the audio (dashed); {len(wrong)} of"
        f" {len(rows)} (red) overlap another one, last longer or shorter than they state, end after"
        " the audio, or have a label or a score that BEAT does not have."
    )
    height = 50 + 13 * max(1, len(shown))
    return Figure(caption, draw(paint, width=WIDTH, height=height, label=caption))


def plot_order(clip: Clip, rule: Rule) -> Figure:
    """Plot how far the body moves over two frames relative to one, for each interval."""
    values = order_by_interval(np.nan_to_num(clip.motion.poses, posinf=0, neginf=0))
    starts = np.arange(len(values)) * (ORDER_FRAMES // 2) / FPS
    length = ORDER_FRAMES / FPS

    def paint(axes: "Axes") -> None:
        axes.plot(starts + length / 2, values, ".-", color=MODEL, linewidth=1, markersize=4)
        for start, value in zip(starts, values, strict=True):
            if rule.minimum is not None and value < rule.minimum:
                axes.axvspan(start, start + length, color=BAD, alpha=0.2, linewidth=0)
        if rule.minimum is not None:
            axes.axhline(rule.minimum, color=SOFT, linewidth=1, linestyle=DASHED)
        axes.set_ylim(0.5, 2.1)
        axes.set_xlim(0, len(clip.motion) / FPS)
        axes.set_xlabel("time (s)")
        axes.set_ylabel("2 frames / 1 frame")

    caption = (
        "Distance that the body moves over two frames, relative to one frame: 2 for smooth motion,"
        f" 1 for shuffled frames; lowest {values.min():.2f} from {starts[values.argmin()]:.1f} s."
    )
    return Figure(caption, draw(paint, width=WIDTH, height=HEIGHT, label=caption))


def plot_voice(row: Mapping[str, Any], manifest: pd.DataFrame) -> Figure:
    """Plot the mean speech spectrum of a clip beside those of speakers."""
    known = manifest.dropna(subset=["voice"])
    own = known[(known["speaker"] == row["speaker"]) & (known["clip_id"] != row["clip_id"])]
    curves: list[tuple[str, Floats, str]] = [("this clip", decode_voice(row["voice"]), BAD)]
    if len(own):
        curves.append((f"other clips of {row['name']}", _median_voice(own), MODEL))
    if isinstance(row["voice_of"], str):
        speaker, _, name = row["voice_of"].partition(" ")
        other = known[known["speaker"].astype(str) == speaker]
        curves.append((f"clips of {name}", _median_voice(other), SOFT))
    bands = np.geomspace(100, 7600, BANDS + 1)
    centres = np.sqrt(bands[1:] * bands[:-1])

    def paint(axes: "Axes") -> None:
        for name, voice, colour in curves:
            axes.semilogx(centres, 10 * voice[:BANDS], ".-", color=colour, label=name)
        axes.set_xticks([125, 250, 500, 1000, 2000, 4000], ["125", "250", "500", "1k", "2k", "4k"])
        axes.minorticks_off()
        axes.set_xlabel("frequency (Hz)")
        axes.set_ylabel("level (dB)")
        axes.legend(frameon=False)

    caption = f"Mean spectrum of the speech; distance {row['voice_distance']:.2f} from the speaker."
    if isinstance(row["voice_of"], str):
        caption = caption[:-1] + f", and more like speaker {row['voice_of']}."
    return Figure(caption, draw(paint, width=WIDTH, height=HEIGHT, label=caption))


def plot_copy(row: Mapping[str, Any], clip: Clip, rule: Rule, store: ClipSource) -> Figure | None:
    """Plot the part that a clip shares with another one, one curve above the other.

    Args:
        row: The clip's row of the manifest.
        clip: The clip itself.
        rule: A rule on one of `COPY_COLUMNS`, of which the row names the other clip.
        store: All clips.

    Returns:
        The figure; None if the other clip is unknown or one of both could not be read.

    """
    name = row[rule.column]
    if rule.column == "split_leak":
        kind = name.partition(" ")[0]
        name = name.split(" of ")[1].split(" in ")[0]
    else:
        kind = rule.column.removesuffix("_duplicate")
    manifest = store.manifest
    pair = manifest[manifest["clip_id"].isin([row["clip_id"], name])]
    if len(pair) < 2 or pair["fault"].notna().any():
        return None
    near = find_near_duplicates(pair, kind).get(str(row["clip_id"]), [])
    delay = near[0].delay if near else 0.0
    curves = [_course(clip, kind), _course(store.read(name), kind)]
    shown = min(len(curves[0]), 30 * FPS)

    def paint(axes: "Axes") -> None:
        times = np.arange(shown) / FPS
        axes.plot(times, 1.1 + scale_to_one(curves[0][:shown]), color=BAD, linewidth=1)
        moved = np.arange(len(curves[1])) / FPS + delay
        inside = (moved >= 0) & (moved <= shown / FPS)
        axes.plot(moved[inside], scale_to_one(curves[1])[inside], color=MODEL, linewidth=1)
        axes.set_yticks((1.6, 0.5), ("this clip", name))
        axes.set_xlim(0, shown / FPS)
        axes.grid(False, axis="y")
        axes.set_xlabel("time in this clip (s)")

    what = "Speed of the upper body" if kind == "motion" else "Loudness"
    shift = f", moved by {delay:+.2f} s" if near else ""
    caption = f"{what} of this clip (red) and of {name}{shift}: the {kind} is the same."
    return Figure(caption, draw(paint, width=WIDTH, height=HEIGHT, label=caption))


def _course(clip: Clip, kind: str) -> Floats:
    """Return one value per frame that shows the course of motion or audio."""
    if kind == "audio":
        return loudness_by_frame(clip.waveform)
    speed = joint_speed(np.nan_to_num(clip.motion.poses, posinf=0, neginf=0))
    return moving_mean(speed[:, list(PART_JOINTS["upper"])].sum(axis=1, dtype=np.float64), 5)


def _median_voice(rows: pd.DataFrame) -> Floats:
    return np.median([decode_voice(text) for text in rows["voice"]], axis=0)
