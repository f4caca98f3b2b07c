"""Sound onsets, the beats that motion is held against."""

import numpy as np
from numpy.typing import NDArray

from mambatalk.motion.skeleton import SAMPLE_RATE


def audio_onsets(wave: NDArray[np.float32]) -> NDArray[np.float64]:
    """Onset times in seconds of a wave (S,) at 16 kHz, ascending.

    librosa's onset detection with its defaults (hop 512). Source: published beat metric.
    """
    import librosa

    return librosa.onset.onset_detect(y=wave, sr=SAMPLE_RATE, units="time").astype(np.float64)
