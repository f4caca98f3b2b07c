"""The voice of a clip: the mean and the variation of its speech spectrum.

The long-term spectrum depends on the vocal tract and the microphone more than on the text, so two
clips of one speaker are close. This module does not import pandas, so that workers start fast.
"""

import base64
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mambatalk.motion.skeleton import SAMPLE_RATE

FRAME_SAMPLES: Final = 1024
MAX_FRAMES: Final = 400
"""Loud frames that are analysed, spread evenly over the clip."""
MIN_FRAMES: Final = 50
"""About three seconds of speech."""
BANDS: Final = 16
SCALE: Final = 1000
"""Resolution of the stored numbers, steps per unit."""
_EDGES: Final = np.rint(np.geomspace(100, 7600, BANDS + 1) * FRAME_SAMPLES / SAMPLE_RATE).astype(
    np.int64
)


def measure_voice(waveform: NDArray[np.float32]) -> str | None:
    """Return the voice of a clip as text.

    Args:
        waveform: Audio (S,) at 16 kHz.

    Returns:
        The voice for `decode_voice`; None if there is too little speech.

    """
    frames = waveform[: len(waveform) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    if len(frames) < MIN_FRAMES:
        return None
    power = np.einsum("ij,ij->i", frames, frames)
    # Loud frames only: pauses hold the sound of the room.
    loud = np.flatnonzero(power > max(0.1 * float(np.quantile(power, 0.95)), 1e-6))
    if len(loud) < MIN_FRAMES:
        return None
    chosen = loud[np.linspace(0, len(loud) - 1, min(MAX_FRAMES, len(loud))).astype(np.int64)]
    spectra = np.abs(np.fft.rfft(frames[chosen] * np.hanning(FRAME_SAMPLES), axis=1)) ** 2
    bands = np.log10(np.add.reduceat(spectra, _EDGES, axis=1)[:, :-1] + 1e-9)
    bands -= bands.mean(axis=1, keepdims=True)
    numbers = np.concatenate([bands.mean(axis=0), bands.std(axis=0)])
    return base64.b64encode(np.rint(numbers * SCALE).astype("<i2").tobytes()).decode()


def decode_voice(text: str) -> NDArray[np.float64]:
    """Return mean and standard deviation (2 * `BANDS`,) of the bands' powers, log10."""
    return np.frombuffer(base64.b64decode(text), "<i2").astype(np.float64) / SCALE


def voice_distance(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.float64]:
    """Return the distance between voices (..., 2 * `BANDS`)."""
    return np.sqrt(np.square(one - other).mean(axis=-1))
