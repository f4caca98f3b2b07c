"""Sound onsets, the beats that motion is held against.

The arithmetic is that of librosa's `onset.onset_detect` with its defaults at 16 kHz, in numpy:
librosa compiles for more than twenty seconds when a fresh environment first asks it. A test holds
the two equal.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.signal import get_window

from mambatalk.motion.skeleton import SAMPLE_RATE

HOP = 512
FFT = 2048
BANDS = 128
RANGE_DB = 80.0
FLOOR = 1e-10
AVERAGED = (3, 4)
"""Strengths before and from a frame on (0.1 s either way) whose mean it must exceed ..."""
EXCESS = np.float32(0.07)
"""... by this share of the greatest."""

Floats = NDArray[np.float32]


def audio_onsets(wave: NDArray[np.float32]) -> NDArray[np.float64]:
    """Onset times in seconds of a wave (S,) at 16 kHz, ascending; multiples of 32 ms.

    Source: published beat metric, which calls librosa.
    """
    strength = onset_strength(wave)
    strength = strength - strength.min()
    strength /= strength.max() + np.finfo(np.float32).tiny
    if not strength.any():
        return np.zeros(0)
    return np.flatnonzero(strength >= _local_mean(strength) + EXCESS) * HOP / SAMPLE_RATE


def onset_strength(wave: NDArray[np.float32]) -> Floats:
    """How much louder each frame (512 samples) is than the last: mean rise in decibels over 128 mel
    bands.
    """
    power = mel_power(wave)
    decibels = 10 * np.log10(np.maximum(np.float32(FLOOR), power))
    decibels = np.maximum(decibels, decibels.max() - RANGE_DB)
    rise = np.maximum(0, np.diff(decibels, axis=1)).mean(axis=0)
    # A frame's window begins two hops before its centre, and the rise is one frame late.
    delay = 1 + FFT // (2 * HOP)
    return np.pad(rise, (delay, 0))[: power.shape[1]]


def mel_power(wave: NDArray[np.float32]) -> Floats:
    """Mel power spectrogram (128, 1 + S // 512): windows of 2048 centred on every 512th sample."""
    padded = np.pad(np.asarray(wave, np.float32), FFT // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, FFT)[::HOP]
    window = get_window("hann", FFT).astype(np.float32)
    return mel_bands() @ (np.abs(np.fft.rfft(frames * window, axis=1)) ** 2).T


@cache
def mel_bands() -> Floats:
    """Triangles (128, 1025) on Slaney's mel scale from 0 to 8 kHz, each of the same area."""
    bins = np.fft.rfftfreq(FFT, 1 / SAMPLE_RATE)
    edges = _hertz(np.linspace(0, _mel(SAMPLE_RATE / 2), BANDS + 2))
    slopes = np.subtract.outer(edges, bins)
    width = np.diff(edges)
    rising, falling = -slopes[:-2] / width[:-1, None], slopes[2:] / width[1:, None]
    triangles = np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
    return (triangles * (2 / (edges[2:] - edges[:-2]))[:, None]).astype(np.float32)


def _mel(hertz: float) -> float:
    return 15 + 27 * np.log(hertz / 1000) / np.log(6.4)


def _hertz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Linear to 1 kHz (mel 15), logarithmic above."""
    return np.where(mel < 15, 200 / 3 * mel, 1000 * np.exp(np.log(6.4) / 27 * (mel - 15)))


def _local_mean(strength: Floats) -> Floats:
    before, after = AVERAGED
    padded = np.pad(strength, (before, after - 1), constant_values=np.nan)
    return np.nanmean(np.lib.stride_tricks.sliding_window_view(padded, before + after), axis=1)
