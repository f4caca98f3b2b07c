"""Loudness beside mouth movement or words, for clips whose audio is offset in time."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mambatalk.clips.alignment import JAW, Curve, loudness_by_frame, words_by_frame
from mambatalk.clips.row import Clip
from mambatalk.clips.statistics import joint_speed
from mambatalk.motion.skeleton import FPS
from mambatalk.quality.figures import HEIGHT, WIDTH, Figure
from mambatalk.quality.rule import Rule
from mambatalk.reporting.picture import MODEL, SOFT, draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LAG_COLUMNS: Final = ("mouth_lag", "speaker_lag", "word_lag")
SECONDS_SHOWN: Final = 15
"""Long enough to recognise a lag, short enough that a lag of a few frames is visible."""
OFFSET: Final = 1.15
"""Height of the second curve above the first; both are scaled to 0 to 1."""


def plot_lag(row: Mapping[str, Any], clip: Clip, rule: Rule) -> Figure:
    """Plot mouth movement or words above the loudness of a clip.

    Args:
        row: The clip's row of the manifest.
        clip: The clip itself.
        rule: A rule on one of `LAG_COLUMNS`; a positive value means late audio.

    """
    loudness = loudness_by_frame(clip.waveform)
    if rule.column == "word_lag":
        name = "words"
        reference = words_by_frame(clip.words or [], len(loudness))
    else:
        name = "mouth"
        jaw = clip.motion.poses[:, 3 * JAW : 3 * JAW + 3]
        reference = joint_speed(np.nan_to_num(jaw))[:, 0]

    def paint(axes: "Axes") -> None:
        for curve, base, colour in ((loudness, 0.0, SOFT), (reference, OFFSET, MODEL)):
            heights = base + _scale(curve[: SECONDS_SHOWN * FPS])
            axes.plot(np.arange(len(heights)) / FPS, heights, color=colour, linewidth=1)
        axes.set_yticks((0.5, OFFSET + 0.5), ("audio", name))
        axes.grid(False, axis="y")
        axes.set_xlabel("time (s)")

    lag = float(row[rule.column])
    direction = "late" if lag > 0 else "early"
    suffix = " (median of the speaker)" if rule.column == "speaker_lag" else ""
    caption = (
        f"{name.capitalize()} above, loudness below: "
        f"the audio is {abs(lag):.2f} s {direction}{suffix}."
    )
    return Figure(caption, draw(paint, width=WIDTH, height=HEIGHT, label=caption))


def _scale(curve: Curve) -> Curve:
    """Scale a curve to 0 to 1; the extreme 2 % at each end are clipped."""
    low, high = np.quantile(curve, (0.02, 0.98))
    return np.clip((curve - low) / (high - low + 1e-9), 0, 1)
