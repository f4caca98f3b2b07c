"""The waveform of a clip with its silence and its words."""

from typing import TYPE_CHECKING, Final

import numpy as np

from mambatalk.clips.row import Clip
from mambatalk.clips.statistics import BLOCK_SAMPLES, SILENCE_RMS, block_rms
from mambatalk.motion.skeleton import SAMPLE_RATE
from mambatalk.quality.pages.figures import HEIGHT, MAX_POINTS, WIDTH, Figure, shade_intervals
from mambatalk.reporting.picture import LINE, MODEL, SOFT, draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WAVEFORM_COLUMNS: Final = (
    "largest_sample",
    "peak",
    "loudness",
    "clipped_share",
    "silent_share",
    "words",
    "word_share",
    "word_contrast",
    "words_past_end",
    "longest_word",
    "word_overlap",
    "silent_start",
    "silent_end",
    "dc_offset",
    "has_textgrid",
    "sample_rate",
    "channels",
    "container",
)


def plot_waveform(clip: Clip) -> Figure:
    """Plot the waveform of a clip, shade its silence and mark its words."""
    waveform = clip.waveform
    silent = block_rms(waveform) < SILENCE_RMS
    limit = max(0.1, 1.1 * float(np.abs(waveform).max(initial=0)))

    # Minimum and maximum of each block keep every spike at a width of a few hundred points.
    block = -(-len(waveform) // MAX_POINTS) or 1
    blocks = np.pad(waveform, (0, -len(waveform) % block)).reshape(-1, block)
    seconds = np.arange(len(blocks)) * block / SAMPLE_RATE

    def paint(axes: "Axes") -> None:
        shade_intervals(axes, silent, SAMPLE_RATE / BLOCK_SAMPLES, LINE)
        low = blocks.min(axis=1)
        high = blocks.max(axis=1)
        axes.fill_between(seconds, low, high, color=MODEL, linewidth=0.4)
        # One line with gaps, because a line for each word makes a page twice as large.
        ends = [
            edge
            for word in clip.words or ()
            if word.text.strip()
            for edge in (word.start, word.end, np.nan)
        ]
        axes.plot(
            ends,
            np.full(len(ends), -limit),
            color=SOFT,
            linewidth=4,
            solid_capstyle="butt",
            clip_on=False,
        )
        axes.set_xlim(0, len(waveform) / SAMPLE_RATE)
        axes.set_ylim(-limit, limit)
        axes.set_xlabel("time (s)")
        axes.set_ylabel("amplitude, full scale is 1")

    words = "no TextGrid" if clip.words is None else "the bars below are words"
    share = silent.mean() if len(silent) else 1.0
    caption = (
        f"Waveform; silence (below −50 dB, {100 * share:.0f} % of the audio) is grey; {words}."
    )
    return Figure(caption, draw(paint, width=WIDTH, height=HEIGHT, label=caption))
