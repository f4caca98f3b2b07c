"""Do sound, mouth and words of a clip belong together: the lag at which two curves agree, where
they clearly do.

A clip may hold all that it should and still be of no use: one speaker of BEATX was cut with an
offset of 0 between sound and motion where there was one. No length tells that, but the mouth does:
it moves when there is sound.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mambatalk.clips.statistics import joint_speed
from mambatalk.corpus.readers import Interval
from mambatalk.motion.skeleton import FPS, JOINTS, SAMPLE_RATE

JAW: Final = JOINTS.index("jaw")
REACH: Final = 3 * FPS
"""Lags looked at, frames to either side."""
SURE: Final = 4.0
"""The best agreement must be so many times what chance makes of such curves. Curves that have
nothing in common reach it 3 times in 1,000; sound and mouth of the two real clips reach 4.4 and
5.3, sound and words 9."""
FLOOR: Final = 1e-6
"""-60 dB, as power."""

Curve = NDArray[np.floating[Any]]


def lag_statistics(
    poses: NDArray[np.float32], words: Sequence[Interval] | None, wave: NDArray[np.float32]
) -> dict[str, Any]:
    """By how much (seconds) the sound is late, measured by the mouth and by the words; null where
    neither tells.

    Args:
        poses: Axis-angle (n, 165); the jaw's are looked at.
        words: Those of the TextGrid, or None.
        wave: Sound (S,) at 16 kHz.

    """
    heard, jaw = (
        loudness_by_frame(wave),
        joint_speed(np.nan_to_num(poses[:, 3 * JAW : 3 * JAW + 3]))[:, 0],
    )
    return {
        "mouth_lag": lag(np.log(jaw + 0.01), heard),
        "word_lag": None if words is None else lag(words_by_frame(words, len(heard)), heard),
    }


def lag(first: Curve, second: Curve) -> float | None:
    """Seconds by which the second curve is late against the first, -3 to 3, or None where they do
    not clearly agree.
    """
    frames = min(len(first), len(second))
    if frames < 2 * REACH:
        return None
    # What is slower than two seconds is the clip's arc, which agrees at many lags.
    first, second = (_standard(curve[:frames]) for curve in (first, second))
    size = 1 << (frames + REACH).bit_length()
    lags = np.arange(-REACH, REACH + 1)
    spectra = np.fft.rfft(first, size), np.fft.rfft(second, size)

    def agreement(one: int, other: int) -> Curve:
        return np.fft.irfft(spectra[other] * np.conj(spectra[one]), size)[lags] / frames

    found = agreement(0, 1)
    # Bartlett: two curves agree by chance the more, the longer each agrees with itself.
    chance = np.sqrt(max(0.0, float((agreement(0, 0) * agreement(1, 1)).sum())) / frames)
    best = int(found.argmax())
    return float(lags[best]) / FPS if found[best] > max(SURE * chance, 1e-6) else None


def loudness_by_frame(wave: NDArray[np.float32]) -> Curve:
    """Loudness (n,) in dB of sound (S,) at 16 kHz, of the stretch of each frame of motion."""
    edges = np.arange(len(wave) * FPS // SAMPLE_RATE + 1) * SAMPLE_RATE // FPS
    power = (
        np.add.reduceat(np.square(wave[: edges[-1]], dtype=np.float64), edges[:-1])
        if len(edges) > 1
        else edges[:0]
    )
    return 10 * np.log10(power / (SAMPLE_RATE / FPS) + FLOOR)


def words_by_frame(words: Sequence[Interval], frames: int) -> Curve:
    """Whether there is a word (n,), 0 or 1, in each frame."""
    spoken = np.zeros(frames)
    for word in words:
        if word.text.strip():
            spoken[max(0, int(word.start * FPS)) : max(0, int(word.end * FPS))] = 1
    return spoken


def _standard(curve: Curve) -> Curve:
    band = _moving_mean(curve, 3) - _moving_mean(curve, 2 * FPS)
    return (band - band.mean()) / (band.std() + 1e-9)


def _moving_mean(curve: Curve, width: int) -> Curve:
    # Mirrored: zeros beyond the ends would be a step that all curves share, and so agree on.
    return np.convolve(
        np.pad(curve, (width // 2, width - 1 - width // 2), mode="reflect"),
        np.full(width, 1 / width),
        "valid",
    )
