"""The word that is spoken in each frame."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mambatalk.fidelity import FidelityRules
from mambatalk.motion.skeleton import FPS
from mambatalk.text.vocabulary import PAD, UNKNOWN, look_up


class Interval(Protocol):
    """A labelled interval of time, in seconds."""

    @property
    def start(self) -> float:
        """Start time."""

    @property
    def end(self) -> float:
        """End time."""

    @property
    def text(self) -> str:
        """Label."""


def frame_words(
    intervals: Sequence[Interval],
    vocabulary: dict[str, int],
    frames: int,
    *,
    rules: FidelityRules,
) -> NDArray[np.int32]:
    """Return the word id of each frame (n,) at 30 fps.

    Published: the first interval with start <= i / 30 <= end, so a frame on a border belongs to
    the word that ends, and a frame outside all intervals is unknown. Corrected: start <= i / 30 <
    end, and a frame outside all intervals is silence (PAD).

    Args:
        intervals: Words in order of time.
        vocabulary: Word to id.
        frames: Number of frames n.
        rules: Published or corrected words.

    """
    words = np.full(frames, PAD if rules.consistent_words else UNKNOWN, np.int32)
    times = np.arange(frames) / FPS
    # Backwards, so that the first of several intervals that hold a frame wins.
    for interval in reversed(intervals):
        before_end = times < interval.end if rules.half_open_intervals else times <= interval.end
        inside = (times >= interval.start) & before_end
        words[inside] = look_up(interval.text, vocabulary, rules=rules)
    return words
