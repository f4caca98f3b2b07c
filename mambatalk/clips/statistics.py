"""Statistics of one clip that need no body model; the data checks compare them with bounds."""

from collections.abc import Sequence
from hashlib import sha256
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mambatalk.clips.continuity import continuity_statistics
from mambatalk.clips.fingerprints import audio_fingerprint, motion_fingerprint
from mambatalk.clips.landmarks import audio_landmarks, motion_landmarks
from mambatalk.clips.noise import bounded, largest_value, noise_statistics
from mambatalk.clips.parts import part_statistics
from mambatalk.clips.placement import placement_statistics
from mambatalk.clips.posture import STILL_ANGLE, longest_run, posture_statistics
from mambatalk.clips.voice import measure_voice
from mambatalk.corpus.semantics import SemanticAnnotation
from mambatalk.corpus.textgrid import Interval
from mambatalk.corpus.wave import AudioFormat
from mambatalk.motion.clip import SmplxMotion
from mambatalk.motion.skeleton import FPS, SAMPLE_RATE

BLOCKS_PER_SECOND = 100
BLOCK_SAMPLES = SAMPLE_RATE // BLOCKS_PER_SECOND
"""Samples in a block of 10 ms."""
SILENCE_RMS = 10 ** (-50 / 20)
"""Blocks with a root mean square below -50 dB of full scale are silent."""
FULL_SCALE = 0.999
"""Magnitude from which a sample counts as clipped."""
ABSURD_SAMPLE = 1e5
"""No sample is as large: integers of 16 bits in a float file reach 32,768."""
CHUNK_FRAMES = 256
"""Frames processed together: they fit the processor's cache, and bound memory for long clips."""
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
"""Labels that the annotators of BEAT used."""


def motion_statistics(motion: SmplxMotion, speed: NDArray[np.float32]) -> dict[str, Any]:
    """Return statistics of the motion: angles in radians, lengths in metres, rates per second.

    Args:
        motion: Motion as read from its file.
        speed: Joint speeds (n - 1, 55) in rad/s, from `joint_speed(bounded(motion.poses))`.

    """
    arrays = {
        "poses": motion.poses,
        "trans": motion.trans,
        "expressions": motion.expressions,
        "betas": motion.betas,
    }
    not_finite = int(sum((~np.isfinite(array)).sum() for array in arrays.values()))
    largest, largest_when = largest_value(arrays)
    poses, trans, expressions, betas = (bounded(array) for array in arrays.values())

    angles = rotation_angles(poses)
    translation_speed = np.linalg.norm(np.diff(trans, axis=0), axis=-1) * FPS
    repeated = np.all(speed < STILL_ANGLE * FPS, axis=-1)
    posture = posture_statistics(poses, angles, speed)
    return {
        "frames": len(motion.poses),
        "fps": motion.fps,
        "motion_seconds": len(motion.poses) / motion.fps,
        "not_finite": not_finite,
        "largest_value": largest,
        "largest_value_when": largest_when,
        "max_angle": _largest(angles),
        "max_joint_speed": _largest(speed),
        "max_joint_acceleration": _largest(np.abs(np.diff(speed, axis=0))) * FPS,
        "frozen_seconds": longest_run(repeated) / FPS,
        "repeated_share": float(repeated.mean()) if len(repeated) else 0.0,
        "max_translation_speed": _largest(translation_speed),
        "translation_range": _largest(np.ptp(trans[:, (0, 2)], axis=0)),
        "translation_rise": float(np.ptp(trans[:, 1])),
        "max_expression": _largest(np.abs(expressions)),
        "face_range": _largest(np.ptp(expressions, axis=0)),
        "max_beta": _largest(np.abs(betas)),
        "motion_fingerprint": motion_fingerprint(motion.poses),
        "motion_landmarks": motion_landmarks(poses, speed),
        "shape_fingerprint": sha256(motion.betas.tobytes()).hexdigest()[:16],
        **posture,
        **continuity_statistics(poses, expressions, speed),
        **placement_statistics(poses, trans, posture["tilt"]),
        **part_statistics(poses, expressions, speed),
        **noise_statistics(poses, trans, expressions, angles, speed),
    }


def audio_statistics(waveform: NDArray[np.float32], audio_format: AudioFormat) -> dict[str, Any]:
    """Return statistics of the audio and the format of its file.

    Args:
        waveform: Audio (S,) at 16 kHz; samples beyond `ABSURD_SAMPLE` are clipped.
        audio_format: Format of the file, before resampling.

    Returns:
        Among others `largest_sample` with its time; `peak`, the largest distance from the mean (a
        disconnected microphone can have a large offset but no peak); `loudness`, the root mean
        square of the blocks that are not silent in dB of full scale, None if all are silent.

    """
    highest, lowest = int(waveform.argmax()), int(waveform.argmin())
    loudest = highest if waveform[highest] >= -waveform[lowest] else lowest
    largest = float(abs(waveform[loudest]))
    clipped_share = float((np.abs(waveform) >= FULL_SCALE).mean()) if largest >= FULL_SCALE else 0.0
    if largest > ABSURD_SAMPLE:
        waveform = np.clip(waveform, -ABSURD_SAMPLE, ABSURD_SAMPLE)
    mean = waveform.mean()
    rms = block_rms(waveform)
    audible = np.flatnonzero(rms >= SILENCE_RMS)
    audible_rms = rms[audible]
    if len(audible):
        silent_blocks = (audible[0], len(rms) - 1 - audible[-1])
        loudness = float(10 * np.log10(np.square(audible_rms).mean()))
    else:
        silent_blocks = (len(rms), len(rms))
        loudness = None
    return {
        "audio_seconds": len(waveform) / SAMPLE_RATE,
        "sample_rate": audio_format.sample_rate,
        "channels": audio_format.channels,
        "encoding": audio_format.encoding,
        "container": audio_format.container,
        "largest_sample": largest,
        "largest_sample_when": f"{loudest / SAMPLE_RATE:.1f} s",
        "peak": float(max(waveform[highest] - mean, mean - waveform[lowest])),
        "loudness": loudness,
        "clipped_share": clipped_share,
        "silent_share": float((rms < SILENCE_RMS).mean()) if len(rms) else 1.0,
        "silent_start": float(silent_blocks[0]) / BLOCKS_PER_SECOND,
        "silent_end": float(silent_blocks[1]) / BLOCKS_PER_SECOND,
        "dc_offset": float(np.abs(mean)),
        "audio_fingerprint": audio_fingerprint(waveform),
        "audio_landmarks": audio_landmarks(waveform),
        "voice": measure_voice(waveform),
    }


def word_statistics(words: Sequence[Interval], waveform: NDArray[np.float32]) -> dict[str, Any]:
    """Return statistics of the words and of their alignment with the audio.

    Args:
        words: Words of the TextGrid; intervals without text are pauses.
        waveform: Audio (S,) at 16 kHz.

    Returns:
        Among others `word_share`, the share of the audio with words; `word_contrast`, how much
        louder (dB) the audio is during words; `word_overlap`, the longest time (seconds) by which
        a word overlaps the next, negative if there is a pause between all words.

    """
    spoken = [word for word in words if word.text.strip()]
    has_word = np.zeros(len(waveform) // BLOCK_SAMPLES, bool)
    for word in spoken:
        first = max(0, int(word.start * BLOCKS_PER_SECOND))
        last = max(0, int(word.end * BLOCKS_PER_SECOND))
        has_word[first:last] = True

    power = block_rms(waveform) ** 2
    word_power = power[has_word].mean() if has_word.any() else 0.0
    pause_power = power[~has_word].mean() if (~has_word).any() else 0.0
    overlaps = [word.end - following.start for word, following in pairwise(spoken)]
    last_end = max((word.end for word in words), default=0.0)
    return {
        "words": len(spoken),
        "longest_word": max((word.end - word.start for word in spoken), default=0.0),
        "word_overlap": max(overlaps, default=0.0),
        "word_share": float(has_word.mean()) if len(has_word) else 0.0,
        "word_contrast": float(10 * np.log10((word_power + 1e-10) / (pause_power + 1e-10))),
        "words_past_end": max(0.0, last_end - len(waveform) / SAMPLE_RATE),
    }


def semantic_statistics(rows: Sequence[SemanticAnnotation], seconds: float) -> dict[str, Any]:
    """Return statistics of the semantic annotations of a clip.

    Args:
        rows: Annotations of the clip.
        seconds: Duration of the audio.

    """
    return {
        "semantic_unknown": sum(row.name not in SEMANTIC_LABELS for row in rows),
        "semantic_score": max((abs(row.score) for row in rows), default=0.0),
        "semantic_past_end": max((row.end for row in rows), default=0.0) - seconds,
    }


def joint_speed(poses: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the rotation speed of each joint in rad/s.

    It is written in NumPy, so that processes that read clips do not import PyTorch. The angle
    comes from the chord between unit quaternions, because the arc cosine has no precision for small
    rotations.

    Args:
        poses: Axis-angle rotations (n, 3 * joints) in radians at 30 frames per second.

    Returns:
        Speeds (n - 1, joints).

    """
    starts = range(0, max(1, len(poses) - 1), CHUNK_FRAMES)
    chunks = [_joint_speed(poses[start : start + CHUNK_FRAMES + 1]) for start in starts]
    return np.concatenate(chunks).astype(np.float32)


def _joint_speed(poses: NDArray[np.float32]) -> NDArray[np.float64]:
    half = np.moveaxis(poses.reshape(len(poses), -1, 3), -1, 0) / np.float64(2)
    half = np.ascontiguousarray(half)
    # A rotation by zero has the sine of this number, and their ratio is 1.
    angle = np.maximum(np.sqrt(np.einsum("cnj,cnj->nj", half, half)), 1e-300)
    quaternions = np.concatenate([half * (np.sin(angle) / angle), np.cos(angle)[None]])
    step = np.diff(quaternions, axis=1)
    chord = np.einsum("cnj,cnj->nj", step, step)
    # A quaternion and its negative are one rotation, and the squares of both chords add up to 4.
    shorter = np.minimum(chord, np.maximum(4 - chord, 0))
    return 4 * np.arcsin(np.sqrt(shorter) / 2) * FPS


def rotation_angles(poses: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Return the angle (n, joints) in radians of axis-angle rotations (n, 3 * joints)."""
    x, y, z = (poses[:, axis::3] for axis in range(3))
    return np.sqrt(x * x + y * y + z * z)


def block_rms(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the root mean square of each block of 10 ms; an incomplete last block is ignored."""
    complete = len(waveform) // BLOCK_SAMPLES * BLOCK_SAMPLES
    blocks = waveform[:complete].reshape(-1, BLOCK_SAMPLES)
    return np.sqrt(np.einsum("ij,ij->i", blocks, blocks) / np.float32(BLOCK_SAMPLES))


def _largest(values: NDArray[Any]) -> float:
    return float(values.max()) if values.size else 0.0
