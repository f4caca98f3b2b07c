"""Beats of motion and of sound, and how well the first fall on the second."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import argrelmin

from mambatalk.audio.onsets import audio_onsets
from mambatalk.errors import InputError
from mambatalk.motion.skeleton import FPS, PART_JOINTS, SAMPLE_RATE

MARGIN = 60
"""Frames cut at both ends of a clip: 2 s."""
MARGIN_SAMPLES = MARGIN * SAMPLE_RATE // FPS
ORDER = 7
"""A beat is slower than this many frames on both sides."""
SIGMA = 0.3
"""Seconds by which a beat may miss an onset and still count for 61 %."""
UPPER_JOINTS = PART_JOINTS["upper"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class BeatRule:
    """What the variants of beat consistency differ in."""

    threshold: float
    """Speed a beat must exceed, as a share of the joint's mean speed."""
    folded: bool
    """Whether positions were mirrored about their mean beforehand."""
    aligned: bool
    """Whether the speed is read at the beat itself, and not 60 frames before it."""
    ends_with_motion: bool
    """Whether the cut at the end of the sound is measured from the motion's end, and not from the
    sound's.
    """
    padded: bool
    """Whether a sound shorter than the motion is filled up with silence."""


def sound_beats(wave: NDArray[np.float32], frames: int, rule: BeatRule) -> Array:
    """Onsets in seconds after the cut, of a wave (S,) at 16 kHz beside `frames` frames of
    motion.
    """
    samples = frames * SAMPLE_RATE // FPS
    heard = wave[:samples]
    end = (samples if rule.ends_with_motion else len(wave)) - MARGIN_SAMPLES
    if rule.padded:
        heard = np.pad(heard, (0, samples - len(heard)))
    heard = heard[MARGIN_SAMPLES : max(end, MARGIN_SAMPLES)]
    return audio_onsets(np.ascontiguousarray(heard)) if len(heard) else np.zeros(0)


def motion_beats(joints: Array, mean_velocity: Array, rule: BeatRule) -> list[Array]:
    """Beats of each of the 13 upper-body joints, in seconds after the cut.

    Args:
        joints: Positions (n, 55, 3) in metres at 30 fps.
        mean_velocity: Mean speed of each joint (55,) over training clips, metres a second.
        rule: The variant.

    """
    speed = joint_speed(joints) / mean_velocity
    kept = np.zeros_like(speed, dtype=bool) if len(speed) <= 2 * MARGIN else speed > rule.threshold
    slow = speed[MARGIN : len(speed) - MARGIN]
    shift = MARGIN if rule.aligned else 0
    beats = []
    for joint in UPPER_JOINTS:
        minima = argrelmin(slow[:, joint], order=ORDER)[0]
        beats.append(minima[kept[minima + shift, joint]] / FPS)
    return beats


def joint_speed(joints: Array) -> Array:
    """Speed (n, J) in metres a second of joints (n, J, 3): central differences, one-sided at the
    ends.
    """
    return (
        np.linalg.norm(np.gradient(joints, axis=0), axis=-1) * FPS
        if len(joints) > 1
        else np.zeros(joints.shape[:2])
    )


def alignment(onsets: Array, beats: list[Array]) -> float:
    """Mean over joints of the mean over onsets of exp(-d^2 / (2 sigma^2)), d to the nearest beat;
    NaN without onsets.

    A joint without beats adds 0.
    """
    if not len(onsets):
        return float("nan")
    scores = []
    for times in beats:
        nearest = (
            np.abs(onsets[:, None] - times[None]).min(axis=1)
            if len(times)
            else np.full(len(onsets), np.inf)
        )
        scores.append(np.exp(-(nearest**2) / (2 * SIGMA**2)).mean())
    return float(np.mean(scores))


def check_mean_velocity(mean_velocity: Array) -> Array:
    """Return mean joint speeds (55,).

    Raises:
        InputError: Another shape, or an upper-body joint without a positive speed.

    """
    expected = "55 speeds, positive for the upper body, metres a second"
    do = "take mean_velocity.npy of the features stage or mean_vel_smplxflame_30.npy of the corpus"
    if mean_velocity.shape != (55,):
        raise InputError(
            "mean joint speeds", f"expected {expected}, found shape {mean_velocity.shape}", do
        )
    upper = mean_velocity[list(UPPER_JOINTS)]
    if not (np.isfinite(upper).all() and (upper > 0).all()):
        raise InputError(
            "mean joint speeds", f"expected {expected}, found a speed of {upper.min()}", do
        )
    return mean_velocity
