"""Audio onsets, the beats that motion is compared with."""

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mambatalk.files import compile_lock
from mambatalk.motion.skeleton import SAMPLE_RATE


def audio_onsets(waveform: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the onset times in seconds of a waveform (S,) at 16 kHz, ascending.

    Times are multiples of 32 ms. Source: published beat metric, which calls librosa with its
    default settings.
    """
    detect = _onset_detect()
    with warnings.catch_warnings():
        # librosa warns that a waveform is shorter than one frame of its spectrogram.
        warnings.filterwarnings("ignore", message="n_fft=", category=UserWarning)
        times: NDArray[np.float64] = detect(y=waveform, sr=SAMPLE_RATE, units="time")
    return times


@cache
def _onset_detect() -> Callable[..., Any]:
    """Import librosa, which takes 2 s, and 19 s of CPU time when an environment first does it."""
    with compile_lock():
        from librosa.onset import onset_detect
    return onset_detect
