"""Loudness beside mouth, gestures or words, for clips whose audio and motion are not in time.

The third curve shows the motion as it would fit: moved, stretched or reversed.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mambatalk.clips.alignment import (
    Curve,
    loudness_by_frame,
    mouth_by_frame,
    stroke_by_frame,
    words_by_frame,
)
from mambatalk.clips.landmarks import moving_mean
from mambatalk.clips.noise import bounded
from mambatalk.clips.row import Clip
from mambatalk.clips.statistics import joint_speed
from mambatalk.motion.skeleton import FPS
from mambatalk.quality.pages.figures import HEIGHT, WIDTH, Figure, scale_to_one
from mambatalk.quality.rules.rule import Rule
from mambatalk.reporting.picture import BAD, MODEL, SOFT, draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LAG_COLUMNS: Final = (
    "mouth_lag",
    "speaker_lag",
    "stroke_lag",
    "word_lag",
    "pace",
    "clock",
    "speaker_clock",
    "backwards",
)
SECONDS_SHOWN: Final = 15
"""Long enough to recognise a lag, short enough that a lag of a few frames is visible."""
OFFSET: Final = 1.15
"""Height of each curve above the one below; all are scaled to 0 to 1."""


def plot_lag(row: Mapping[str, Any], clip: Clip, rule: Rule) -> Figure:
    """Plot mouth, gestures or words above the loudness of a clip, as they are and as they fit.

    Args:
        row: The clip's row of the manifest.
        clip: The clip itself.
        rule: A rule on one of `LAG_COLUMNS`; a positive lag means late audio.

    """
    loudness = loudness_by_frame(clip.waveform)
    name, reference = _reference(clip, rule.column, len(loudness))
    fitting, cause = _fitting(reference, rule.column, float(row[rule.column]))
    # Clocks drift apart towards the end.
    drifts = rule.column in ("clock", "speaker_clock")
    first = max(0, len(loudness) - SECONDS_SHOWN * FPS) if drifts else 0
    curves = (
        ("audio", moving_mean(loudness, 3) if len(loudness) > 3 else loudness, SOFT),
        (name, reference, BAD),
        (f"{name}, to fit", fitting, MODEL),
    )

    def paint(axes: "Axes") -> None:
        for level, (_, curve, colour) in enumerate(curves):
            heights = level * OFFSET + scale_to_one(curve[first : first + SECONDS_SHOWN * FPS])
            times = (first + np.arange(len(heights))) / FPS
            axes.plot(times, heights, color=colour, linewidth=1)
        ticks = [level * OFFSET + 0.5 for level in range(len(curves))]
        axes.set_yticks(ticks, [label for label, _, _ in curves])
        axes.grid(False, axis="y")
        axes.set_xlabel("time (s)")

    suffix = " (median of the speaker)" if rule.column.startswith("speaker_") else ""
    caption = f"{name.capitalize()} above, loudness below: {cause}{suffix}."
    return Figure(caption, draw(paint, width=WIDTH, height=HEIGHT, label=caption))


def _reference(clip: Clip, column: str, frames: int) -> tuple[str, Curve]:
    if column == "word_lag":
        return "words", words_by_frame(clip.words or [], frames)
    speed = joint_speed(bounded(clip.motion.poses))
    if column == "stroke_lag":
        return "arms", stroke_by_frame(speed)
    return "mouth", mouth_by_frame(speed, bounded(clip.motion.expressions))


def _fitting(reference: Curve, column: str, value: float) -> tuple[Curve, str]:
    """Return the curve as it fits the audio, and a description of the fault."""
    if column in ("pace", "clock", "speaker_clock"):
        frames = np.arange(int(len(reference) * value))
        stretched = np.interp(frames / value, np.arange(len(reference)), reference)
        return stretched, f"the motion fits if it takes {value:.3f} times as long"
    if column == "backwards":
        return reference[::-1], "the motion fits if it is reversed"
    direction = "late" if value > 0 else "early"
    shift = round(value * FPS)
    moved = (
        np.concatenate([np.full(shift, reference[0]), reference])
        if shift > 0
        else reference[-shift:]
    )
    return moved, f"the audio is {abs(value):.2f} s {direction}"
