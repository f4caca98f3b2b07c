"""One clip of the clip store to its features: what worker processes do for the stage."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

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
from mambatalk.features.splits import pieces
from mambatalk.fidelity import FidelityRules
from mambatalk.motion.kinematics import contacts_of_feet, pose_chain
from mambatalk.motion.rotations import axis_angle_to_matrix, matrix_to_6d
from mambatalk.motion.skeleton import EXPRESSION_DIM, FOOT_JOINTS, FPS, JOINT_COUNT, MOTION_DIM
from mambatalk.text.vocabulary import PAD, UNKNOWN
from mambatalk.text.words import frame_words

CHUNK = 256
"""Frames posed at a time: few enough for a processor's cache, and for memory whatever a clip's
length.
"""
NEAR_FLOOR = 0.03
"""Metres above its own lowest within which a foot stands."""
log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False, kw_only=True)
class FeatureJob:
    """One clip to make features of, and all that its features hang on."""

    shard: Path
    row_group: int
    split: str
    cut: float | None
    """Share of it, at its end, that goes to validation where the clip is to be cut."""
    rest: NDArray[np.float32]
    """Joints (55, 3) of the speaker's body at rest, metres."""
    words: dict[str, int]
    """The vocabulary, as far as this clip needs it."""
    ctc_model: str | None
    rules: FidelityRules


@dataclass(frozen=True, eq=False, kw_only=True)
class Piece:
    """A clip's features, or those of one of its ends."""

    split: str
    row: dict[str, Any]
    """Columns of schema.FEATURE_CLIP that follow from the clip alone."""
    frames: pa.Table
    """schema.FRAME."""
    speed: NDArray[np.float64]
    """Joint speeds (55,) in metres a second, summed over the steps between frames."""
    steps: int


def make_features(job: FeatureJob) -> list[Piece] | FailedItem:
    """Features of a clip, in two pieces where it is cut; or why there are none."""
    # Of the clip before; Arrow would keep it for this process, and there are many.
    pa.default_memory_pool().release_unused()
    try:
        with _one_thread():
            return [
                _piece(job, clip, split)
                for clip, split in pieces(
                    load_clip(job.shard, job.row_group), job.split, validation_share=job.cut
                )
            ]
    except InputError:
        raise
    except Exception as error:  # One clip that nobody foresaw does not end a run over thousands.
        log.exception("a clip of %s", job.shard.name)
        return FailedItem(f"{type(error).__name__}: {error}")


def frame_features(
    clip: Clip, rest: NDArray[np.float32], vocabulary: dict[str, int], *, rules: FidelityRules
) -> tuple[dict[str, NDArray[Any]], torch.Tensor]:
    """Features by frame (schema.FRAME) of a clip and its joints (n, 55, 3) in metres, from those
    (55, 3) at rest.
    """
    frames = len(clip.motion)
    motion, joints = torch.empty(frames, MOTION_DIM), torch.empty(frames, JOINT_COUNT, 3)
    trans = torch.from_numpy(clip.motion.trans.astype(np.float32))
    for part in (slice(first, first + CHUNK) for first in range(0, frames, CHUNK)):
        rotations = axis_angle_to_matrix(
            torch.from_numpy(clip.motion.poses[part]).unflatten(-1, (JOINT_COUNT, 3))
        )
        placed = pose_chain(rotations, torch.from_numpy(rest).expand(len(rotations), -1, -1))[1]
        joints[part] = placed + trans[part].unsqueeze(1)
        motion[part, : 6 * JOINT_COUNT] = matrix_to_6d(rotations).flatten(1)
    motion[:, 6 * JOINT_COUNT :] = torch.cat(
        [trans, contacts_of_feet(joints[:, FOOT_JOINTS])], dim=-1
    )
    words = (
        np.full(frames, PAD, np.int32)
        if clip.words is None
        else frame_words(clip.words, vocabulary, frames, rules=rules)
    )
    return {"motion": motion.numpy(), "expressions": clip.motion.expressions, "word": words}, joints


def clip_facts(
    clip: Clip, features: Mapping[str, NDArray[Any]], joints: torch.Tensor
) -> dict[str, Any]:
    """Columns of schema.FEATURE_CLIP that follow from the clip alone."""
    wave = clip.waveform
    mean, std = wave_statistics(torch.from_numpy(wave))
    planted = features["motion"][:-1, -len(FOOT_JOINTS) :] > 0.5
    feet = joints[:, FOOT_JOINTS].numpy()
    slide = np.linalg.norm(np.diff(feet[..., (0, 2)], axis=0), axis=-1) * FPS
    # By height: the contact labels mean slow feet, and slow feet never slide.
    low = feet[:-1, :, 1] < np.percentile(feet[..., 1], 2, axis=0) + NEAR_FLOOR
    return {
        "clip_id": clip.clip_id,
        "frames": len(clip.motion),
        "betas": clip.motion.betas,
        "audio": clip.audio,
        "samples": len(wave),
        "wave_mean": mean,
        "wave_std": std,
        "has_text": clip.words is not None,
        "unknown_words": float((features["word"] == UNKNOWN).mean()),
        "silent_share": float((block_rms(wave) < SILENCE_RMS).mean()),
        "contact_share": float(planted.mean()) if planted.size else 0.0,
        "foot_skate": float(slide[low].mean()) if low.any() else 0.0,
        "floor_height": float(np.percentile(feet[..., 1], 2)),
        "floor_drift": _floor_drift(feet[..., 1]),
        "not_finite": int(
            sum((~np.isfinite(features[name])).sum() for name in ("motion", "expressions"))
        ),
    }


def _piece(job: FeatureJob, clip: Clip, split: str) -> Piece:
    features, joints = frame_features(clip, job.rest, job.words, rules=job.rules)
    ctc = None if job.ctc_model is None else _recogniser(job.ctc_model)(clip.waveform)
    speed = joints.diff(dim=0).norm(dim=-1) * FPS
    return Piece(
        split=split,
        row=clip_facts(clip, features, joints) | {"ctc": ctc},
        steps=len(speed),
        speed=speed.sum(0, dtype=torch.float64).numpy(),
        frames=pa.table(
            {
                "motion": _fixed(features["motion"], MOTION_DIM),
                "expressions": _fixed(features["expressions"], EXPRESSION_DIM),
                "word": pa.array(features["word"], pa.int32()),
            },
            FRAME,
        ),
    )


@cache
def _recogniser(model: str) -> CTCModel:
    return load_ctc(model)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Clips are what there are many of; and sums over many threads differ in their last bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _floor_drift(heights: NDArray[Any]) -> float:
    """How far (m) the lowest foot of the last third lies from that of the first, of feet (n, 4)
    above the floor.
    """
    third = -(-len(heights) // 3)
    return float(abs(np.percentile(heights[-third:], 2) - np.percentile(heights[:third], 2)))


def _fixed(values: NDArray[Any], width: int) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(
        np.ascontiguousarray(values, np.float32).ravel(), width
    )
