"""Landmarks of motion and audio: fingerprints that survive small changes of a recording.

The fingerprints of `fingerprints.py` are exact: one changed bit in every sample hides a copy. A
landmark is a moment that the content itself selects, the fastest gesture or the loudest syllable
within 1.5 seconds to either side, with a short description of what happens around it. Noise,
another sample format, a different cut or a slightly different speed move a landmark by a fraction
of a frame, and change its description by little. So copies share most of their landmarks, at the
same distances from each other. The idea is that of A. Wang, An Industrial-Strength Audio Search
Algorithm (2003), with descriptions that are compared by distance and not by hash.

This module does not import pandas or SciPy, so that worker processes start fast.
"""

import base64
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mambatalk.motion.skeleton import FPS, PART_JOINTS, SAMPLE_RATE

Floats = NDArray[np.floating[Any]]

DESCRIPTION: Final = 12
"""Numbers that describe a landmark."""
MAX_LANDMARKS: Final = 96
"""Landmarks kept per clip, the most prominent ones; about four minutes have so many."""
REACH: Final = 1.5
"""Seconds to either side in which a landmark is the largest value."""
TICKS: Final = 20
"""Resolution of the stored times, per second."""
SCALE: Final = 1000
"""Resolution of the stored descriptions, steps per unit."""
MIN_MOTION: Final = 2.0
"""Smallest sum of the speeds of the upper body's joints at a landmark, rad/s: rest poses are alike.
"""
LOUDNESS_RATE: Final = 100
"""Values of the loudness curve per second."""
SPECTRUM_SAMPLES: Final = 1024
BAND_EDGES: Final = np.geomspace(120, 6000, 9)
"""Edges in Hz of the eight bands whose powers describe a sound."""
NOISE_FLOOR: Final = 1e-3
"""Power relative to the loudest band below which a band tells nothing."""
PATCH_OFFSETS: Final = np.array([-0.30, -0.18, -0.06, 0.06, 0.18, 0.30])
"""Times of the spectra around a loud moment, seconds."""
_POSE_OFFSETS: Final = np.array([-0.5, 0.0, 0.5])
"""Centres of the intervals whose mean poses describe a gesture, seconds."""
_HALF_WIDTH: Final = 0.25
"""Half of the length of these intervals, seconds."""
_UPPER: Final = np.array([3 * joint + axis for joint in PART_JOINTS["upper"] for axis in range(3)])


def _projection(size: int, seed: int) -> NDArray[np.float64]:
    """Return a random matrix (size, `DESCRIPTION`) that keeps distances, on average."""
    return np.random.default_rng(seed).normal(size=(size, DESCRIPTION)) / np.sqrt(DESCRIPTION)


_MOTION_PROJECTION: Final = _projection(len(_POSE_OFFSETS) * len(_UPPER), 1)
_AUDIO_PROJECTION: Final = _projection(len(PATCH_OFFSETS) * (len(BAND_EDGES) - 1), 2)


def motion_landmarks(poses: Floats, speed: Floats) -> str | None:
    """Return the landmarks of a motion as text.

    Args:
        poses: Axis-angle rotations (n, 165) in radians, finite.
        speed: Joint speeds (n - 1, 55) in rad/s.

    Returns:
        The landmarks for `decode_landmarks`; None if nothing moves or the clip is shorter than
        three seconds.

    """
    curve = speed[:, list(PART_JOINTS["upper"])].sum(axis=1, dtype=np.float64)
    if len(curve) < 2 * REACH * FPS:
        return None
    # Smoothed twice, so that noise does not move the maximum.
    curve = moving_mean(moving_mean(curve, 9), 9)
    times, height = _dominant_peaks(curve, FPS)
    keep = height >= MIN_MOTION
    # A speed belongs to the time between two frames.
    frames = times[keep] * FPS + 0.5
    sums = np.concatenate([np.zeros((1, len(_UPPER))), np.cumsum(poses[:, _UPPER], axis=0)])
    centres = frames[:, None] + _POSE_OFFSETS * FPS
    starts = _interpolate_rows(sums, centres - _HALF_WIDTH * FPS)
    ends = _interpolate_rows(sums, centres + _HALF_WIDTH * FPS)
    means = (ends - starts) / (2 * _HALF_WIDTH * FPS)
    return _encode(
        times[keep],
        means.reshape(len(frames), len(_MOTION_PROJECTION)) @ _MOTION_PROJECTION,
        height[keep],
    )


def audio_landmarks(waveform: NDArray[np.float32]) -> str | None:
    """Return the landmarks of audio as text.

    Args:
        waveform: Audio (S,) at 16 kHz.

    Returns:
        The landmarks for `decode_landmarks`; None if the audio is silent or shorter than three
        seconds.

    """
    block = SAMPLE_RATE // LOUDNESS_RATE
    blocks = waveform[: len(waveform) // block * block].reshape(-1, block)
    if len(blocks) < 2 * REACH * LOUDNESS_RATE:
        return None
    power = np.einsum("ij,ij->i", blocks, blocks)
    curve = moving_mean(moving_mean(np.sqrt(power), 15), 15)
    times, height = _dominant_peaks(curve, LOUDNESS_RATE)
    keep = height > 0.05 * curve.max(initial=0)
    times, height = times[keep] + 0.5 / LOUDNESS_RATE, height[keep]
    centres = np.rint((times[:, None] + PATCH_OFFSETS) * SAMPLE_RATE).astype(np.int64)
    samples = centres[..., None] + np.arange(-SPECTRUM_SAMPLES // 2, SPECTRUM_SAMPLES // 2)
    inside = (samples >= 0) & (samples < len(waveform))
    if not len(times):
        return None
    windows = np.where(inside, waveform[np.clip(samples, 0, len(waveform) - 1)], 0)
    spectra = np.abs(np.fft.rfft(windows * np.hanning(SPECTRUM_SAMPLES), axis=-1)) ** 2
    edges = np.rint(BAND_EDGES * SPECTRUM_SAMPLES / SAMPLE_RATE).astype(np.int64)
    bands = np.add.reduceat(spectra, edges, axis=-1)[..., :-1].reshape(
        len(times), len(_AUDIO_PROJECTION)
    )
    # Relative to the loudest band, so that neither gain nor faint noise changes the description.
    loudest = bands.max(axis=1, keepdims=True, initial=0) + 1e-12
    bands = np.log(bands / loudest + NOISE_FLOOR)
    bands -= bands.mean(axis=1, keepdims=True)
    return _encode(times, 0.3 * bands @ _AUDIO_PROJECTION, height)


def decode_landmarks(text: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return times (k,) in seconds, ascending, and descriptions (k, `DESCRIPTION`)."""
    values = np.frombuffer(base64.b64decode(text), "<i2").reshape(-1, 1 + DESCRIPTION)
    times = values[:, 0].view("<u2").astype(np.float64) / TICKS
    return times, values[:, 1:].astype(np.float64) / SCALE


def _encode(times: Floats, descriptions: Floats, height: Floats) -> str | None:
    if not len(times):
        return None
    kept = np.sort(np.argsort(-height, kind="stable")[:MAX_LANDMARKS])
    ticks = np.clip(np.rint(times[kept] * TICKS), 0, 2**16 - 1).astype("<u2").view("<i2")
    steps = np.clip(np.rint(descriptions[kept] * SCALE), -(2**15), 2**15 - 1).astype("<i2")
    return base64.b64encode(np.column_stack([ticks, steps]).astype("<i2").tobytes()).decode()


def _dominant_peaks(curve: Floats, rate: int) -> tuple[Floats, Floats]:
    """Return time and height of the values that are the largest within `REACH` to either side.

    A parabola through the largest value and its neighbours gives times between two samples.
    """
    reach = round(REACH * rate)
    padded = np.pad(curve, reach, constant_values=-np.inf)
    largest = _sliding_max(padded, 2 * reach + 1)
    place = np.flatnonzero((curve >= largest) & (curve > 0))
    place = place[(place > 0) & (place < len(curve) - 1)]
    before, at, after = curve[place - 1], curve[place], curve[place + 1]
    bend = before - 2 * at + after
    shift = np.where(bend < 0, 0.5 * (before - after) / np.where(bend < 0, bend, -1), 0)
    return (place + np.clip(shift, -0.5, 0.5)) / rate, at


def _sliding_max(values: Floats, width: int) -> Floats:
    """Return the largest of each `width` consecutive values, by doubling."""
    span = 1
    while 2 * span <= width:
        values = np.maximum(values[: len(values) - span], values[span:])
        span *= 2
    rest = width - span
    return np.maximum(values[: len(values) - rest], values[rest:])


def moving_mean(curve: Floats, width: int) -> Floats:
    """Return the mean of `width` values around each of a curve (n,), reflected at its ends."""
    sums = sums_of_reflected(curve, width)
    return (sums[width:] - sums[:-width]) / width


def sums_of_reflected(curve: Floats, width: int) -> Floats:
    """Return sums (n + width,) of a curve (n,) with its reflection at both ends.

    The difference of sums `width` places apart is the sum around one value.
    """
    before, after = width // 2, width - 1 - width // 2
    if len(curve) > width:
        # What `np.pad` does, without its overhead: this is called 40 times per clip.
        padded = np.concatenate(
            [curve[before:0:-1], curve, curve[len(curve) - 2 : len(curve) - 2 - after : -1]]
        )
    else:
        padded = np.pad(curve, (before, after), mode="reflect")
    return np.concatenate([[0.0], np.cumsum(padded)])


def _interpolate_rows(rows: Floats, at: Floats) -> Floats:
    """Interpolate linearly between rows (n, c) at fractional indices, clipped to the range."""
    at = np.clip(at, 0, len(rows) - 1)
    low = np.minimum(at.astype(np.int64), len(rows) - 2)
    return rows[low] + (at - low)[..., None] * (rows[low + 1] - rows[low])
