"""Lags between the audio and the mouth, gestures and words of a clip, and the pace of its motion.

A clip can have all its files and still be unusable: for one speaker of BEATX, the recordings were
cut as if audio and motion had started together, although they had not. Durations do not reveal
this, but the mouth does, because it moves when there is speech. The mouth also reveals motion at
another pace than the audio (a wrong frame rate, a clock that runs slow) and motion that runs
backwards: stretched or reversed, it fits the audio.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mambatalk.clips.landmarks import sums_of_reflected
from mambatalk.corpus.textgrid import Interval
from mambatalk.motion.skeleton import FPS, JOINTS, PART_JOINTS, SAMPLE_RATE

JAW: Final = JOINTS.index("jaw")
ARMS: Final = list(PART_JOINTS["upper"][-6:])
"""Shoulders, elbows and wrists."""
MAX_LAG: Final = 3 * FPS
"""Largest lag considered, in frames to either side."""
_LAGS: Final = np.arange(-MAX_LAG, MAX_LAG + 1)
MIN_SIGNIFICANCE: Final = 4.0
"""Smallest accepted ratio of the best correlation to the correlation expected by chance. Unrelated
curves reach it 3 times in 1,000. In the two public clips of BEATX, audio and mouth reach 4.4 and
5.3, audio and words 9.
"""
POWER_FLOOR: Final = 1e-6
"""-60 dB, as power."""
FIRST_EXPRESSIONS: Final = 10
"""The expression coefficients that move most of the face."""

PACE_FRAMES: Final = 90 * FPS
"""Frames whose pace is measured: at a pace off by 0.25 %, the lag changes by a quarter second."""
PACES: Final = tuple(
    sorted(
        {
            *(1 + step / 200 for step in range(-6, 7)),
            *(0.5, 0.6, 0.96, 1.04, 1.2, 1.25, 2.0),
        }
    )
)
"""Paces to compare. Motion at pace 1.2 has to take 1.2 times as long to fit the audio, as for 25
frames per second that are labelled 30; 60, 50, 24 and 15 frames per second have 0.5, 0.6, 1.25 and
2. The fine steps near 1 find clocks that run slow or fast.
"""
CLOCK_PACES: Final = tuple(pace for pace in PACES if 0.965 < pace < 1.035)
"""The fine steps."""
MAX_CLOCK_ERROR: Final = 0.1
"""Paces closer to 1 are errors of a clock, and the others those of a frame rate."""
PACE_LAG: Final = round(0.3 * FPS)
"""Largest lag at another pace, and of reversed motion, in frames: both start together with the
audio, and a narrow range admits fewer fits by chance."""
PACE_SIGNIFICANCE: Final = 3.6
"""Smallest accepted significance of a pace, and of reversed motion."""
PACE_ADVANTAGE: Final = 1.2
"""How much more significant another pace, or reversed motion, must be than the motion as it is."""

Curve = NDArray[np.floating[Any]]
Spectrum = NDArray[np.complexfloating[Any]]


def lag_statistics(
    speed: NDArray[np.float32],
    expressions: NDArray[np.floating[Any]],
    words: Sequence[Interval] | None,
    waveform: NDArray[np.float32],
) -> dict[str, Any]:
    """Return the lags of the audio, and the pace of the motion.

    Args:
        speed: Joint speeds (n - 1, 55) in rad/s; those of jaw and arms are used.
        expressions: Expression coefficients (n, 100), finite.
        words: Words of the TextGrid. If None, `word_lag` is None.
        waveform: Audio (S,) at 16 kHz.

    Returns:
        `mouth_lag`, `stroke_lag` and `word_lag`, the lag of the audio behind mouth, gestures and
        words in seconds, positive if the audio is late; None if the curves do not correlate
        clearly. `pace`, the factor by which the motion must be lengthened to fit the audio if its
        frame rate is wrong; `clock`, the same factor if a clock runs slow or fast. Both are 1 if no
        other factor is clearly better, and None if none fits. `clock_fits`, the significance of the
        best fit at each of `CLOCK_PACES`, for a comparison over the clips of a speaker; None if the
        clip is too short or nothing moves. `backwards`, how much higher the significance of
        reversed motion is than that of the motion as it is; 0 if it is not clearly higher.

    """
    loudness = loudness_by_frame(waveform)
    word_lag = None
    if words is not None:
        word_lag = estimate_lag(words_by_frame(words, len(loudness)), loudness)
    mouth = mouth_by_frame(speed, expressions)
    return {
        "mouth_lag": estimate_lag(mouth, loudness),
        "stroke_lag": estimate_lag(stroke_by_frame(speed), loudness),
        "word_lag": word_lag,
        **_pace_statistics(mouth, loudness),
    }


def mouth_by_frame(speed: NDArray[np.float32], expressions: NDArray[np.floating[Any]]) -> Curve:
    """Return the movement (n - 1,) of jaw and face between frames, scaled to unit variance.

    Args:
        speed: Joint speeds (n - 1, 55) in rad/s.
        expressions: Expression coefficients (n, 100), finite.

    """
    face = np.linalg.norm(np.diff(expressions[:, :FIRST_EXPRESSIONS], axis=0), axis=1) * FPS
    # The logarithm compresses the few large movements.
    return _unit(np.log(speed[:, JAW] + 0.01)) + _unit(np.log(face + 0.1))


def stroke_by_frame(speed: NDArray[np.float32]) -> Curve:
    """Return the movement (n - 1,) of both arms between frames.

    Args:
        speed: Joint speeds (n - 1, 55) in rad/s.

    """
    return np.log(speed[:, ARMS].sum(axis=1) + 0.1)


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
    (found,) = _significance([_band(reference[:frames])], _band(delayed[:frames]))
    best = int(found.argmax())
    if found[best] <= MIN_SIGNIFICANCE:
        return None
    return float(_LAGS[best]) / FPS


def _pace_statistics(mouth: Curve, loudness: Curve) -> dict[str, Any]:
    whole = _band(loudness)
    forward = _band(mouth)
    if min(len(whole), len(forward)) < 2 * MAX_LAG:
        return {"pace": None, "clock": None, "clock_fits": None, "backwards": 0.0}
    near = np.abs(_LAGS) <= PACE_LAG

    as_it_is, reversed_motion = _significance([forward, forward[::-1]], whole)
    usual = float(as_it_is.max())
    reverse = float(reversed_motion[near].max())
    backwards = reverse - usual if reverse >= PACE_SIGNIFICANCE else 0.0

    frames = np.arange(PACE_FRAMES)
    played = []
    for candidate in PACES:
        count = min(int(len(mouth) * candidate), PACE_FRAMES)
        played.append(_band(np.interp(frames[:count] / candidate, np.arange(len(mouth)), mouth)))
    significance = _significance(played, whole[:PACE_FRAMES])[:, near].max(axis=1)
    fits = dict(zip(PACES, significance.tolist(), strict=True))
    best = max(fits, key=lambda candidate: fits[candidate])
    pace = clock = 1.0 if fits[1.0] >= PACE_SIGNIFICANCE else None
    if fits[best] >= PACE_SIGNIFICANCE and fits[best] - max(usual, fits[1.0]) >= PACE_ADVANTAGE:
        if abs(best - 1) <= MAX_CLOCK_ERROR:
            clock = best
        else:
            pace = best
    clock_fits = [round(fits[candidate], 3) for candidate in CLOCK_PACES]
    return {
        "pace": pace,
        "clock": clock,
        "clock_fits": clock_fits if max(clock_fits) > 0 else None,
        "backwards": max(0.0, backwards),
    }


def _significance(references: Sequence[Curve], delayed: Curve) -> Curve:
    """Return correlations at each lag relative to those expected by chance, (k, 2 * MAX_LAG + 1).

    Args:
        references: k curves without slow changes (see `_band`), of any lengths.
        delayed: Curve (m,) of the same kind; the longer one of each pair is cut.

    """
    frames = np.array([min(len(reference), len(delayed)) for reference in references])
    lengths, which = np.unique(frames, return_inverse=True)
    # One transform of many rows takes less time than many transforms.
    one, one_alone = _spectra(_unit_rows(references, frames), frames)
    other, other_alone = _spectra(_unit_rows([delayed] * len(lengths), lengths), lengths)
    # Bartlett's formula: curves correlate more by chance if each has a long autocorrelation.
    own = np.einsum("kn,kn->k", one_alone, other_alone[which])
    by_chance = np.sqrt(np.maximum(0.0, own) / frames)
    products = other[which] * np.conj(one)
    return _correlations(products, frames) / np.maximum(by_chance, 1e-6)[:, None]


def _unit_rows(curves: Sequence[Curve], frames: NDArray[np.int64]) -> Curve:
    """Return the beginnings of curves, scaled to mean 0 and deviation 1 and followed by zeros."""
    rows = np.zeros((len(curves), int(frames.max())))
    for row, curve, count in zip(rows, curves, frames, strict=True):
        row[:count] = curve[:count]
    inside = np.arange(rows.shape[1]) < frames[:, None]
    rows -= rows.sum(axis=1, keepdims=True) / frames[:, None]
    rows *= inside
    deviation = np.sqrt(np.einsum("kn,kn->k", rows, rows) / frames)
    return rows / (deviation + 1e-9)[:, None]


def _spectra(rows: Curve, frames: NDArray[np.int64]) -> tuple[Spectrum, Curve]:
    """Return the spectra of curves (k, n), and their autocorrelations (k, 2 * MAX_LAG + 1)."""
    spectra = np.fft.rfft(rows, _padded_size(rows.shape[1]))
    return spectra, _correlations(spectra * np.conj(spectra), frames)


def _correlations(products: Spectrum, frames: NDArray[np.int64]) -> Curve:
    size = _padded_size(int(frames.max()))
    return np.fft.irfft(products, size)[:, _LAGS] / frames[:, None]


def _padded_size(frames: int) -> int:
    return 1 << (frames + MAX_LAG).bit_length()


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


def _band(curve: Curve) -> Curve:
    # The mean of three frames, without changes slower than two seconds, which belong to the course
    # of the clip and correlate at many lags.
    if len(curve) < 2 * FPS:
        return curve[:0]
    sums = sums_of_reflected(curve, 2 * FPS)
    near = sums[FPS - 1 : FPS + 2 + len(curve)]
    return (near[3:] - near[:-3]) / 3 - (sums[2 * FPS :] - sums[: -2 * FPS]) / (2 * FPS)


def _unit(curve: Curve) -> Curve:
    return (curve - curve.mean()) / (curve.std() + 1e-9) if len(curve) else curve
