"""Extract the features of one clip; worker processes run this module."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from mambatalk.audio.channels import wave_statistics
from mambatalk.audio.ctc import CTCModel, load_ctc
from mambatalk.clips.row import Clip, load_clip
from mambatalk.clips.statistics import SILENCE_RMS, block_rms
from mambatalk.errors import InputError
from mambatalk.executors import FailedItem
from mambatalk.features.schema import FRAME
from mambatalk.features.splits import split_clip
from mambatalk.fidelity import FidelityRules
from mambatalk.motion.kinematics import (
    FLOOR_PERCENTILE,
    contacts_of_feet,
    floor_height,
    foot_sliding_speed,
    pose_chain,
)
from mambatalk.motion.rotations import axis_angle_to_matrix, matrix_to_6d
from mambatalk.motion.skeleton import EXPRESSION_DIM, FOOT_JOINTS, FPS, JOINT_COUNT, MOTION_DIM
from mambatalk.text.vocabulary import PAD, UNKNOWN
from mambatalk.text.words import frame_words

CHUNK_FRAMES: Final = 256
"""Frames posed together: they fit the processor's cache, and memory does not grow with the clip."""
log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False, kw_only=True)
class FeatureJob:
    """One clip and everything that its features depend on."""

    shard: Path
    row_group: int
    """Place of the clip in the clip store."""
    split: str
    validation_share: float | None
    """Share at the end of the clip to use for validation. If None, the clip is not cut."""
    rest: NDArray[np.float32]
    """Rest joints (55, 3) of the speaker's body, metres."""
    vocabulary: dict[str, int]
    """The part of the vocabulary that this clip needs."""
    ctc_model: str | None
    """Name of the CTC model. If None, the clip gets no CTC ids."""
    rules: FidelityRules


@dataclass(frozen=True, eq=False, kw_only=True)
class ClipFeatures:
    """The features of a clip, or of one part of a clip that is cut."""

    split: str
    row: dict[str, Any]
    """Columns of schema.FEATURE_CLIP that depend on the clip alone."""
    frames: pa.Table
    """Table with the schema schema.FRAME."""
    speed_sum: NDArray[np.float64]
    """Joint speeds (55,) in m/s, summed over the steps between frames."""
    steps: int


def extract_features(job: FeatureJob) -> list[ClipFeatures] | FailedItem:
    """Extract the features of a clip: one item, two if the clip is cut, or the reason of a failure.

    Raises:
        InputError: The CTC model cannot be loaded.

    """
    # Arrow would keep the memory of the previous clip in each of many processes.
    pa.default_memory_pool().release_unused()
    try:
        with _single_thread():
            clip = load_clip(job.shard, job.row_group)
            parts = split_clip(clip, job.split, validation_share=job.validation_share)
            return [_extract(job, part, split) for part, split in parts]
    except InputError:
        raise
    # An unexpected fault of one clip must not end a run over thousands.
    except Exception as error:
        log.exception("a clip of %s", job.shard.name)
        return FailedItem(f"{type(error).__name__}: {error}")


def frame_features(
    clip: Clip, rest: NDArray[np.float32], vocabulary: dict[str, int], *, rules: FidelityRules
) -> tuple[dict[str, NDArray[Any]], torch.Tensor]:
    """Compute the features of every frame.

    Args:
        clip: Clip of n frames.
        rest: Rest joints (55, 3) of the speaker's body, metres.
        vocabulary: Word to id.
        rules: Published or corrected assignment of words to frames.

    Returns:
        Columns of schema.FRAME by name, and joint positions (n, 55, 3) in metres.

    """
    frames = len(clip.motion)
    motion = torch.empty(frames, MOTION_DIM)
    joints = torch.empty(frames, JOINT_COUNT, 3)
    trans = torch.from_numpy(clip.motion.trans.astype(np.float32))
    rest_joints = torch.from_numpy(rest)
    for first in range(0, frames, CHUNK_FRAMES):
        chunk = slice(first, first + CHUNK_FRAMES)
        poses = torch.from_numpy(clip.motion.poses[chunk]).unflatten(-1, (JOINT_COUNT, 3))
        rotations = axis_angle_to_matrix(poses)
        _, posed = pose_chain(rotations, rest_joints.expand(len(rotations), -1, -1))
        joints[chunk] = posed + trans[chunk].unsqueeze(1)
        motion[chunk, : 6 * JOINT_COUNT] = matrix_to_6d(rotations).flatten(1)
    contacts = contacts_of_feet(joints[:, FOOT_JOINTS])
    motion[:, 6 * JOINT_COUNT :] = torch.cat([trans, contacts], dim=-1)

    if clip.words is None:
        words = np.full(frames, PAD, np.int32)
    else:
        words = frame_words(clip.words, vocabulary, frames, rules=rules)
    columns = {"motion": motion.numpy(), "expressions": clip.motion.expressions, "word": words}
    return columns, joints


def clip_statistics(
    clip: Clip, features: Mapping[str, NDArray[Any]], joints: torch.Tensor
) -> dict[str, Any]:
    """Compute the columns of schema.FEATURE_CLIP that depend on the clip alone.

    Args:
        clip: Clip of n frames.
        features: First result of `frame_features`.
        joints: Joint positions (n, 55, 3), metres.

    """
    waveform = clip.waveform
    mean, std = wave_statistics(torch.from_numpy(waveform))
    contacts = features["motion"][:-1, -len(FOOT_JOINTS) :] > 0.5

    feet = joints[:, FOOT_JOINTS].numpy()
    heights = feet[..., 1]
    not_finite = sum((~np.isfinite(features[name])).sum() for name in ("motion", "expressions"))
    return {
        "clip_id": clip.clip_id,
        "frames": len(clip.motion),
        "betas": clip.motion.betas,
        "audio": clip.audio,
        "samples": len(waveform),
        "wave_mean": float(mean),
        "wave_std": float(std),
        "has_text": clip.words is not None,
        "unknown_words": float((features["word"] == UNKNOWN).mean()),
        "silent_share": float((block_rms(waveform) < SILENCE_RMS).mean()),
        "contact_share": float(contacts.mean()) if contacts.size else 0.0,
        "foot_skate": foot_sliding_speed(feet),
        "floor_height": floor_height(feet),
        "floor_drift": _floor_drift(heights),
        "not_finite": int(not_finite),
    }


def _extract(job: FeatureJob, clip: Clip, split: str) -> ClipFeatures:
    features, joints = frame_features(clip, job.rest, job.vocabulary, rules=job.rules)
    ctc = None if job.ctc_model is None else _ctc_model(job.ctc_model)(clip.waveform)
    speed = joints.diff(dim=0).norm(dim=-1) * FPS
    columns = {
        "motion": _fixed_size_lists(features["motion"], MOTION_DIM),
        "expressions": _fixed_size_lists(features["expressions"], EXPRESSION_DIM),
        "word": pa.array(features["word"], pa.int32()),
    }
    return ClipFeatures(
        split=split,
        row=clip_statistics(clip, features, joints) | {"ctc": ctc},
        frames=pa.table(columns, FRAME),
        speed_sum=speed.sum(0, dtype=torch.float64).numpy(),
        steps=len(speed),
    )


@cache
def _ctc_model(model: str) -> CTCModel:
    """Load a CTC model once per process."""
    return load_ctc(model)


@contextmanager
def _single_thread() -> Iterator[None]:
    """Run PyTorch with one thread.

    The work is parallel over clips already, and the last bits of a sum depend on the number of
    threads.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _floor_drift(heights: NDArray[Any]) -> float:
    """Return the change of floor height from the first third to the last, metres.

    Args:
        heights: Heights (n, 4) of the foot joints, metres.

    """
    third = -(-len(heights) // 3)
    first = np.percentile(heights[:third], FLOOR_PERCENTILE)
    last = np.percentile(heights[-third:], FLOOR_PERCENTILE)
    return float(abs(last - first))


def _fixed_size_lists(values: NDArray[Any], width: int) -> pa.Array:
    """Convert an array (n, width) to an Arrow column of lists of float32."""
    flat = np.ascontiguousarray(values, np.float32).ravel()
    return pa.FixedSizeListArray.from_arrays(flat, width)
