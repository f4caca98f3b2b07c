"""Beats of motion and onsets of audio, and how well the two coincide."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import argrelmin

from mambatalk.audio.onsets import audio_onsets
from mambatalk.errors import InputError
from mambatalk.motion.skeleton import FPS, JOINT_COUNT, PART_JOINTS, SAMPLE_RATE

MARGIN = 60
"""Frames cut at both ends of a clip: 2 s."""
MARGIN_SAMPLES = MARGIN * SAMPLE_RATE // FPS
ORDER = 7
"""At a beat a joint is slower than in this many frames before and after."""
SIGMA = 0.3
"""Seconds between beat and onset at which a beat counts 61 %."""
UPPER_JOINTS = PART_JOINTS["upper"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class BeatRule:
    """Differences between the variants of beat consistency."""

    threshold: float
    """Speed that a beat must exceed, relative to the joint's mean speed."""
    folded: bool
    """Whether positions are folded at their mean first (see `fold`)."""
    aligned: bool
    """Whether the speed is read at the beat itself, instead of 60 frames before it."""
    ends_with_motion: bool
    """Whether the audio is cut 2 s before the end of the motion, instead of the file's end."""
    padded: bool
    """Whether audio that is shorter than the motion is padded with silence."""


def audio_beats(waveform: NDArray[np.float32], frames: int, rule: BeatRule) -> Array:
    """Return the onsets of a clip's audio in seconds after the cut.

    Args:
        waveform: Audio (S,) at 16 kHz.
        frames: Length of the motion at 30 fps.
        rule: The variant.

    """
    samples = frames * SAMPLE_RATE // FPS
    kept = waveform[:samples]
    end = (samples if rule.ends_with_motion else len(waveform)) - MARGIN_SAMPLES
    if rule.padded:
        kept = np.pad(kept, (0, samples - len(kept)))
    kept = kept[MARGIN_SAMPLES : max(end, MARGIN_SAMPLES)]
    return audio_onsets(np.ascontiguousarray(kept)) if len(kept) else np.zeros(0)


def motion_beats(joints: Array, mean_velocity: Array, rule: BeatRule) -> list[Array]:
    """Return the beats of each of the 13 upper-body joints in seconds after the cut.

    Args:
        joints: Positions (n, 55, 3) in metres at 30 fps.
        mean_velocity: Mean speed of each joint (55,) over training clips, metres per second.
        rule: The variant.

    """
    speed = joint_speed(joints) / mean_velocity
    fast = speed > rule.threshold
    # Empty for a clip of at most two margins, which therefore has no beats.
    inner = speed[MARGIN : len(speed) - MARGIN]
    # Without the shift, indices of the cut motion are used for the uncut one, as published.
    shift = MARGIN if rule.aligned else 0
    beats = []
    for joint in UPPER_JOINTS:
        minima = argrelmin(inner[:, joint], order=ORDER)[0]
        beats.append(minima[fast[minima + shift, joint]] / FPS)
    return beats


def joint_speed(joints: Array) -> Array:
    """Return the speed (n, J) of joints (n, J, 3) in metres, in metres per second.

    Central differences, one-sided at the ends. A single frame has speed 0.
    """
    if len(joints) < 2:
        return np.zeros(joints.shape[:2])
    return np.linalg.norm(np.gradient(joints, axis=0), axis=-1) * FPS


def alignment(onsets: Array, beats: list[Array]) -> float:
    """Return the mean over joints and onsets of exp(-d^2 / (2 sigma^2)).

    d is the distance from an onset to the nearest beat of the joint. A joint without beats counts
    as 0.

    Args:
        onsets: Times in seconds.
        beats: Times in seconds for each joint.

    Returns:
        A number in [0, 1]; NaN without onsets.

    """
    if not len(onsets):
        return float("nan")
    scores = []
    for times in beats:
        if len(times):
            nearest = np.abs(onsets[:, None] - times[None]).min(axis=1)
        else:
            nearest = np.full(len(onsets), np.inf)
        scores.append(np.exp(-(nearest**2) / (2 * SIGMA**2)).mean())
    return float(np.mean(scores))


def check_mean_velocity(mean_velocity: Array) -> Array:
    """Return mean joint speeds (55,), which users give as a file.

    Raises:
        InputError: The shape is different, or an upper-body joint has no positive speed.

    """
    expected = f"{JOINT_COUNT} speeds in metres per second, positive for the upper body"
    hint = "use mean_velocity.npy of the features or mean_vel_smplxflame_30.npy of the corpus"
    if mean_velocity.shape != (JOINT_COUNT,):
        raise InputError(
            "mean joint speeds", f"expected {expected}, found shape {mean_velocity.shape}", hint
        )
    upper = mean_velocity[list(UPPER_JOINTS)]
    if not (np.isfinite(upper).all() and (upper > 0).all()):
        raise InputError(
            "mean joint speeds", f"expected {expected}, found a speed of {upper.min()}", hint
        )
    return mean_velocity
