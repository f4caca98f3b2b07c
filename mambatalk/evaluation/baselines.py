"""Baselines that a model must beat: mean pose, random training clip, audio of another clip."""

from functools import lru_cache
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from mambatalk.features.store import ClipInfo, FeatureStore
from mambatalk.motion.clip import SmplxMotion
from mambatalk.motion.rotations import axis_angle_from_6d
from mambatalk.motion.skeleton import EXPRESSION_DIM, JOINT_COUNT, MOTION_DIM, POSE_DIM, TRANSLATION

Number = TypeVar("Number", bound=np.generic)


def stored_motion(store: FeatureStore, clip: ClipInfo) -> SmplxMotion:
    """Return the recorded motion of a clip from the features."""
    rows = store.frames(clip)
    return _motion(store.motion[rows], store.expressions[rows], clip.betas)


def mean_pose(store: FeatureStore, clip: ClipInfo) -> SmplxMotion:
    """Return the mean over all training frames, held for the length of a clip.

    Rotations are averaged in 6D.

    Raises:
        InputError: There is no training clip.

    """
    motion, expressions = _mean_frame(store)
    return _motion(
        np.repeat(motion[None], clip.frames, axis=0),
        np.repeat(expressions[None], clip.frames, axis=0),
        clip.betas,
    )


# Cached, so that the training frames are read once and not for every scored clip.
@lru_cache(maxsize=1)
def _mean_frame(store: FeatureStore) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    motion = np.zeros(MOTION_DIM)
    expressions = np.zeros(EXPRESSION_DIM)
    count = 0
    for clip in store.clips_in_split("train"):
        rows = store.frames(clip)
        motion += store.motion[rows].sum(0, dtype=np.float64)
        expressions += store.expressions[rows].sum(0, dtype=np.float64)
        count += clip.frames
    return (motion / count).astype(np.float32), (expressions / count).astype(np.float32)


def random_clip(store: FeatureStore, clip: ClipInfo, *, seed: int) -> SmplxMotion:
    """Return a random part of a training clip with the length of `clip`.

    The part is of the same speaker where that speaker has training clips. A training clip that is
    too short is played forwards and backwards. The same seed and clip give the same part.

    Args:
        store: Features.
        clip: Clip whose length and speaker are used.
        seed: Seed of the choice.

    Raises:
        InputError: There is no training clip.

    """
    training = store.clips_in_split("train")
    same_speaker = [choice for choice in training if choice.speaker_id == clip.speaker_id]
    choices = same_speaker or training
    long_enough = [choice for choice in choices if choice.frames >= clip.frames]
    choices = long_enough or [max(choices, key=lambda choice: choice.frames)]

    random = _generator(seed, clip)
    chosen = choices[random.integers(len(choices))]
    start = int(random.integers(max(chosen.frames - clip.frames, 0) + 1))
    rows = chosen.first_frame + _forwards_and_backwards(chosen.frames, start, clip.frames)
    return _motion(store.motion[rows], store.expressions[rows], clip.betas)


def shuffled_audio(
    store: FeatureStore, clips: list[ClipInfo], clip: ClipInfo, *, seed: int
) -> ClipInfo:
    """Choose the clip whose audio and words replace those of `clip`.

    Args:
        store: The features.
        clips: Candidates. The training clips are used where `clip` is the only candidate.
        clip: The clip to generate.
        seed: Seed of the choice. The same seed and clip give the same choice.

    Raises:
        InputError: There is no other clip.

    """
    others = [other for other in clips if other.clip_id != clip.clip_id] or store.clips_in_split(
        "train"
    )
    return others[_generator(seed, clip).integers(len(others))]


def fit_length(values: NDArray[Number], length: int) -> NDArray[Number]:
    """Cut a waveform (S,) or word ids (n,) to a length, or repeat it until it has that length."""
    return np.resize(values, length)


def _motion(
    motion: NDArray[np.float32], expressions: NDArray[np.float32], betas: NDArray[np.float32]
) -> SmplxMotion:
    rotations = torch.from_numpy(np.ascontiguousarray(motion[:, :POSE_DIM]))
    poses = axis_angle_from_6d(rotations.view(-1, JOINT_COUNT, 6)).flatten(1)
    return SmplxMotion(
        poses=poses.numpy(),
        expressions=np.ascontiguousarray(expressions),
        trans=np.ascontiguousarray(motion[:, TRANSLATION]),
        betas=betas,
    )


def _generator(seed: int, clip: ClipInfo) -> np.random.Generator:
    return np.random.default_rng([seed, *clip.clip_id.encode()])


def _forwards_and_backwards(frames: int, start: int, length: int) -> NDArray[np.int64]:
    """Return `length` frame numbers from `start`, turning around at both ends of a clip."""
    if frames == 1:
        return np.zeros(length, np.int64)
    period = 2 * frames - 2
    place = np.arange(start, start + length) % period
    return np.where(place < frames, place, period - place)
