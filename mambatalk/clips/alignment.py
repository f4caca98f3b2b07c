"""Lags between the audio, mouth and words of a clip.

A clip can have all its files and still be unusable: for one speaker of BEATX, the recordings were
cut as if audio and motion had started together, although they had not. Durations do not reveal
this, but the mouth does, because it moves when there is speech.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mambatalk.clips.statistics import joint_speed
from mambatalk.corpus.textgrid import Interval
from mambatalk.motion.skeleton import FPS, JOINTS, SAMPLE_RATE

JAW: Final = JOINTS.index("jaw")
MAX_LAG: Final = 3 * FPS
"""Largest lag considered, in frames to either side."""
MIN_SIGNIFICANCE: Final = 4.0
"""Smallest accepted ratio of the best correlation to the correlation expected by chance. Unrelated
curves reach it 3 times in 1,000. In the two public clips of BEATX, audio and mouth reach 4.4 and
5.3, audio and words 9.
"""
POWER_FLOOR: Final = 1e-6
"""-60 dB, as power."""

Curve = NDArray[np.floating[Any]]


def lag_statistics(
    poses: NDArray[np.float32], words: Sequence[Interval] | None, waveform: NDArray[np.float32]
) -> dict[str, Any]:
    """Return the lag of the audio behind the mouth and behind the words.

    Args:
        poses: Axis-angle rotations (n, 165) in radians; only the jaw is used.
        words: Words of the TextGrid. If None, `word_lag` is None.
        waveform: Audio (S,) at 16 kHz.

    Returns:
        `mouth_lag` and `word_lag` in seconds, positive if the audio is late; None if the curves do
        not correlate clearly.

    """
    loudness = loudness_by_frame(waveform)
    jaw_poses = np.nan_to_num(poses[:, 3 * JAW : 3 * JAW + 3])
    jaw_speed = joint_speed(jaw_poses)[:, 0]

    word_lag = None
    if words is not None:
        word_lag = estimate_lag(words_by_frame(words, len(loudness)), loudness)
    return {
        # The logarithm compresses the few large movements of the jaw.
        "mouth_lag": estimate_lag(np.log(jaw_speed + 0.01), loudness),
        "word_lag": word_lag,
    }


def estimate_lag(reference: Curve, delayed: Curve) -> float | None:
    """Estimate by how many seconds the second curve is late.

    Args:
        reference: Curve (n,) at 30 frames per second.
        delayed: Curve (m,) at 30 frames per second.

    Returns:
        A lag from -3 to 3, or None if the curves do not correlate clearly or are shorter than six
        seconds.

    """
    frames = min(len(reference), len(delayed))
    if frames < 2 * MAX_LAG:
        return None
    curves = [_standardize(curve[:frames]) for curve in (reference, delayed)]
    size = 1 << (frames + MAX_LAG).bit_length()
    lags = np.arange(-MAX_LAG, MAX_LAG + 1)
    spectra = [np.fft.rfft(curve, size) for curve in curves]

    def correlation(one: int, other: int) -> Curve:
        product = spectra[other] * np.conj(spectra[one])
        return np.fft.irfft(product, size)[lags] / frames

    found = correlation(0, 1)
    # Bartlett's formula: curves correlate more by chance if each has a long autocorrelation.
    variance = float((correlation(0, 0) * correlation(1, 1)).sum()) / frames
    by_chance = np.sqrt(max(0.0, variance))
    best = int(found.argmax())
    if found[best] <= max(MIN_SIGNIFICANCE * by_chance, 1e-6):
        return None
    return float(lags[best]) / FPS


def loudness_by_frame(waveform: NDArray[np.float32]) -> Curve:
    """Return the loudness (n,) in dB of the audio during each motion frame.

    Args:
        waveform: Audio (S,) at 16 kHz.

    """
    edges = np.arange(len(waveform) * FPS // SAMPLE_RATE + 1) * SAMPLE_RATE // FPS
    if len(edges) > 1:
        squares = np.square(waveform[: edges[-1]], dtype=np.float64)
        power = np.add.reduceat(squares, edges[:-1])
    else:
        power = edges[:0]
    return 10 * np.log10(power / (SAMPLE_RATE / FPS) + POWER_FLOOR)


def words_by_frame(words: Sequence[Interval], frames: int) -> Curve:
    """Return 1 for each of `frames` motion frames with a word, 0 for the others."""
    spoken = np.zeros(frames)
    for word in words:
        if word.text.strip():
            spoken[max(0, int(word.start * FPS)) : max(0, int(word.end * FPS))] = 1
    return spoken


def _standardize(curve: Curve) -> Curve:
    # Changes slower than two seconds belong to the course of the clip and correlate at many lags.
    band = _moving_mean(curve, 3) - _moving_mean(curve, 2 * FPS)
    return (band - band.mean()) / (band.std() + 1e-9)


def _moving_mean(curve: Curve, width: int) -> Curve:
    # Reflect at the ends. Zero padding would add the same step to all curves, which correlates.
    padded = np.pad(curve, (width // 2, width - 1 - width // 2), mode="reflect")
    return np.convolve(padded, np.full(width, 1 / width), "valid")
