"""A clip's sound as a picture: its shape, its silence, its words."""

from typing import TYPE_CHECKING, Final

import numpy as np

from mambatalk.clips.row import Clip
from mambatalk.clips.statistics import BLOCK, SILENCE, block_loudness
from mambatalk.motion.skeleton import SAMPLE_RATE
from mambatalk.quality.figures import HEIGHT, POINTS, WIDTH, Shown, mark_stretches
from mambatalk.reporting.picture import LINE, MODEL, SOFT, draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SOUND_COLUMNS: Final = (
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


def sound(clip: Clip) -> Shown:
    """Draw a clip's sound with its silence and its words."""
    wave = clip.wave
    quiet = block_loudness(wave) < SILENCE
    length = -(-len(wave) // POINTS) or 1
    padded = np.pad(wave, (0, -len(wave) % length)).reshape(-1, length)
    limit = max(0.1, 1.1 * float(np.abs(wave).max(initial=0)))

    def paint(axes: "Axes") -> None:
        mark_stretches(axes, quiet, SAMPLE_RATE / BLOCK, LINE)
        at = np.arange(len(padded)) * length / SAMPLE_RATE
        axes.fill_between(at, padded.min(axis=1), padded.max(axis=1), color=MODEL, linewidth=0.4)
        for word in clip.words or ():
            if word.text.strip():
                axes.plot(
                    (word.start, word.end),
                    (-limit, -limit),
                    color=SOFT,
                    linewidth=4,
                    solid_capstyle="butt",
                    clip_on=False,
                )
        axes.set_xlim(0, len(wave) / SAMPLE_RATE)
        axes.set_ylim(-limit, limit)
        axes.set_xlabel("s")

    words = "no TextGrid" if clip.words is None else "bars below are words"
    silent = quiet.mean() if len(quiet) else 1.0
    caption = f"Sound; grey ground is silence (below −50 dB), {silent:.0%} of it; {words}."
    return Shown(caption, draw(paint, width=WIDTH, height=HEIGHT, label=caption))
