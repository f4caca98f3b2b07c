"""What can be said of one clip without a body model: numbers that the checks hold against their
bounds.
"""

from collections.abc import Sequence
from hashlib import sha256
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mambatalk.clips.fingerprints import motion_print, sound_print
from mambatalk.clips.posture import STILL, longest_run, posture_statistics
from mambatalk.corpus.readers import Facts, Interval, Semantic
from mambatalk.motion.clip import SmplxMotion
from mambatalk.motion.skeleton import FPS, SAMPLE_RATE

BLOCK = SAMPLE_RATE // 100
SILENCE = 10 ** (-50 / 20)
"""Root mean square of a 10 ms block below -50 dB of full scale is silence."""
CHUNK = 256
"""Frames looked at at a time: few enough for a processor's cache, and for memory whatever a clip's
length.
"""
SEMANTIC_LABELS = (
    "00_nogesture",
    "01_beat_align",
    "02_deictic_l",
    "03_deictic_m",
    "04_deictic_h",
    "05_iconic_l",
    "06_iconic_m",
    "07_iconic_h",
    "08_metaphoric_l",
    "09_metaphoric_m",
    "10_metaphoric_h",
    "habit",
    "need_cut",
)
"""Labels of BEAT's annotators."""


def motion_statistics(motion: SmplxMotion) -> dict[str, Any]:
    """Numbers of one clip's motion; rates per second."""
    arrays = (motion.poses, motion.trans, motion.expressions, motion.betas)
    broken = int(sum((~np.isfinite(array)).sum() for array in arrays))
    poses, trans = (
        np.nan_to_num(motion.poses, posinf=0, neginf=0),
        np.nan_to_num(motion.trans, posinf=0, neginf=0),
    )
    speed, turns = joint_speed(poses), np.linalg.norm(poses.reshape(len(poses), -1, 3), axis=-1)
    moved, repeated = (
        np.linalg.norm(np.diff(trans, axis=0), axis=-1) * FPS,
        np.all(speed < STILL * FPS, axis=-1),
    )
    return {
        "frames": len(motion.poses),
        "fps": motion.fps,
        "motion_seconds": len(motion.poses) / motion.fps,
        "not_finite": broken,
        "max_angle": _largest(turns),
        "max_joint_speed": _largest(speed),
        "max_joint_acceleration": _largest(np.abs(np.diff(speed, axis=0))) * FPS,
        "frozen_seconds": longest_run(repeated) / FPS,
        "repeated_share": float(repeated.mean()) if len(repeated) else 0.0,
        "max_translation_speed": _largest(moved),
        "translation_range": _largest(np.ptp(trans[:, (0, 2)], axis=0)),
        "translation_rise": float(np.ptp(trans[:, 1])),
        "max_expression": _largest(np.abs(np.nan_to_num(motion.expressions))),
        "face_range": _largest(np.ptp(np.nan_to_num(motion.expressions), axis=0)),
        "max_beta": _largest(np.abs(np.nan_to_num(motion.betas))),
        "motion_print": motion_print(motion.poses),
        "shape_print": sha256(motion.betas.tobytes()).hexdigest()[:16],
        **posture_statistics(poses, turns, speed),
    }


def sound_statistics(wave: NDArray[np.float32], facts: Facts) -> dict[str, Any]:
    """Numbers of one clip's sound (S,) at 16 kHz, and of the file it came from.

    `peak` is the farthest that it swings from its mean, which a dead microphone may have too.
    `loudness` is the root mean square in dB of full scale of what is no silence; None where all is.
    """
    loudness = block_loudness(wave)
    loud = np.flatnonzero(loudness >= SILENCE)
    heard = loudness[loud]
    ends = (loud[0], len(loudness) - 1 - loud[-1]) if len(loud) else (len(loudness), len(loudness))
    return {
        "audio_seconds": len(wave) / SAMPLE_RATE,
        "sample_rate": facts.rate,
        "channels": facts.channels,
        "encoding": facts.subtype,
        "container": facts.format,
        "peak": _largest(np.abs(wave - wave.mean())),
        "loudness": float(10 * np.log10(np.square(heard).mean())) if len(heard) else None,
        "clipped_share": float((np.abs(wave) >= 0.999).mean()),
        "silent_share": float((loudness < SILENCE).mean()) if len(loudness) else 1.0,
        "silent_start": float(ends[0]) / 100,
        "silent_end": float(ends[1]) / 100,
        "dc_offset": float(np.abs(wave.mean())),
        "sound_print": sound_print(wave),
    }


def word_statistics(words: Sequence[Interval], wave: NDArray[np.float32]) -> dict[str, Any]:
    """How well a clip's words fit its sound: their share of it, and how much louder (dB) words are
    than the rest.

    `word_overlap` is the longest (seconds) that a word runs into the next; negative where all keep
    apart.
    """
    spoken = np.zeros(len(wave) // BLOCK, bool)
    said_words = [word for word in words if word.text.strip()]
    for word in said_words:
        spoken[max(0, int(word.start * 100)) : max(0, int(word.end * 100))] = True
    power = block_loudness(wave) ** 2
    said, rest = (
        power[spoken].mean() if spoken.any() else 0.0,
        power[~spoken].mean() if (~spoken).any() else 0.0,
    )
    return {
        "words": len(said_words),
        "longest_word": max((word.end - word.start for word in said_words), default=0.0),
        "word_overlap": max(
            (one.end - after.start for one, after in pairwise(said_words)), default=0.0
        ),
        "word_share": float(spoken.mean()) if len(spoken) else 0.0,
        "word_contrast": float(10 * np.log10((said + 1e-10) / (rest + 1e-10))),
        "words_past_end": max(
            0.0, max((word.end for word in words), default=0.0) - len(wave) / SAMPLE_RATE
        ),
    }


def semantic_statistics(rows: Sequence[Semantic], seconds: float) -> dict[str, Any]:
    """How well a clip's semantic annotations fit its sound of so many seconds, and their own
    rules.
    """
    return {
        "semantic_unknown": sum(row.name not in SEMANTIC_LABELS for row in rows),
        "semantic_score": max((abs(row.score) for row in rows), default=0.0),
        "semantic_past_end": max((row.end for row in rows), default=0.0) - seconds,
    }


def joint_speed(poses: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rotation speed (n - 1, 55) in radians a second of axis-angle poses (n, 165), or of fewer
    joints' (n, 3 x joints).

    In plain numpy, so that processes which only read clips need not load torch, by the chord
    between unit quaternions and between one and the other's opposite: the arc cosine has no digits
    left where frames are near.
    """
    parts = [
        _joint_speed(poses[first : first + CHUNK + 1])
        for first in range(0, max(1, len(poses) - 1), CHUNK)
    ]
    return np.concatenate(parts).astype(np.float32)


def _joint_speed(poses: NDArray[np.float32]) -> NDArray[np.float64]:
    half = np.moveaxis(poses.reshape(len(poses), -1, 3), -1, 0) / np.float64(2)
    angle = np.linalg.norm(half, axis=0)
    turns = np.concatenate([half * np.sinc(angle / np.pi), np.cos(angle)[None]])
    apart = np.linalg.norm(np.diff(turns, axis=1), axis=0)
    opposite = np.linalg.norm(turns[:, 1:] + turns[:, :-1], axis=0)
    return 4 * np.arctan2(np.minimum(apart, opposite), np.maximum(apart, opposite)) * FPS


def block_loudness(wave: NDArray[np.float32]) -> NDArray[np.float32]:
    """Root mean square of blocks of 10 ms."""
    blocks = wave[: len(wave) // BLOCK * BLOCK].reshape(-1, BLOCK)
    return np.sqrt(np.square(blocks, dtype=np.float32).mean(axis=-1))


def _largest(values: NDArray[Any]) -> float:
    return float(values.max()) if values.size else 0.0
