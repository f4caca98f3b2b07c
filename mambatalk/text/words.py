"""Words by frame: which vocabulary entry is being said when a pose is shown."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mambatalk.fidelity import FidelityRules
from mambatalk.motion.skeleton import FPS
from mambatalk.text.vocabulary import PAD, UNKNOWN, look_up


class Interval(Protocol):
    """A labelled stretch of time, seconds."""

    @property
    def start(self) -> float:
        """When it begins."""

    @property
    def end(self) -> float:
        """When it ends."""

    @property
    def text(self) -> str:
        """Its label."""


def frame_words(
    intervals: Sequence[Interval], vocabulary: dict[str, int], frames: int, *, rules: FidelityRules
) -> NDArray[np.int32]:
    """Word ids (frames,) at 30 frames a second.

    Published: the first interval with start <= i / 30 <= end, so a frame on a border belongs to the
    word that ends; outside all intervals the word is unknown. Corrected: start <= i / 30 < end, and
    outside there is silence (PAD).
    """
    words = np.full(frames, PAD if rules.consistent_words else UNKNOWN, np.int32)
    times = np.arange(frames) / FPS
    for interval in reversed(intervals):
        before_end = times < interval.end if rules.half_open_intervals else times <= interval.end
        inside = (times >= interval.start) & before_end
        words[inside] = look_up(interval.text, vocabulary, rules=rules)
    return words
