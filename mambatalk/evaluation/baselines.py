"""What a model must beat: the mean pose, a random training clip, and itself given the sound of
another clip.
"""

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
    """A clip's ground truth out of the features."""
    rows = store.frames(clip)
    return _motion(store.motion[rows], store.expressions[rows], clip.betas)


def mean_pose(store: FeatureStore, clip: ClipInfo) -> SmplxMotion:
    """Hold the mean over all training frames for the length of `clip`.

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


@lru_cache(maxsize=1)  # One pass over the training frames, whatever the number of clips scored.
def _mean_frame(store: FeatureStore) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    motion, expressions, count = np.zeros(MOTION_DIM), np.zeros(EXPRESSION_DIM), 0
    for clip in store.of_split("train"):
        rows = store.frames(clip)
        motion += store.motion[rows].sum(0, dtype=np.float64)
        expressions += store.expressions[rows].sum(0, dtype=np.float64)
        count += clip.frames
    return (motion / count).astype(np.float32), (expressions / count).astype(np.float32)


def random_clip(store: FeatureStore, clip: ClipInfo, *, seed: int) -> SmplxMotion:
    """A random stretch of the same speaker's training clips (of any speaker where there is none),
    as long as `clip`.

    The same seed and clip give the same stretch. A training clip that is too short is played there
    and back.

    Raises:
        InputError: There is no training clip.

    """
    choices = store.of_split("train")
    choices = [choice for choice in choices if choice.speaker == clip.speaker] or choices
    choices = [choice for choice in choices if choice.frames >= clip.frames] or [
        max(choices, key=lambda c: c.frames)
    ]
    random = _generator(seed, clip)
    chosen = choices[random.integers(len(choices))]
    start = int(random.integers(max(chosen.frames - clip.frames, 0) + 1))
    rows = chosen.first_frame + _there_and_back(chosen.frames, start, clip.frames)
    return _motion(store.motion[rows], store.expressions[rows], clip.betas)


def shuffled_audio(
    store: FeatureStore, clips: list[ClipInfo], clip: ClipInfo, *, seed: int
) -> ClipInfo:
    """The clip whose sound and words `clip` is given: another of `clips`, or of the training clips
    if it stands alone.

    Raises:
        InputError: There is no other clip at all.

    """
    others = [other for other in clips if other.clip_id != clip.clip_id] or store.of_split("train")
    return others[_generator(seed, clip).integers(len(others))]


def fit_length(values: NDArray[Number], length: int) -> NDArray[Number]:
    """Sound (S,) or words (n,) cut, or begun anew as often as needed, to a length."""
    return np.resize(values, length)


def _motion(
    motion: NDArray[np.float32], expressions: NDArray[np.float32], betas: NDArray[np.float32]
) -> SmplxMotion:
    pose = torch.from_numpy(np.ascontiguousarray(motion[:, :POSE_DIM])).view(-1, JOINT_COUNT, 6)
    return SmplxMotion(
        poses=axis_angle_from_6d(pose).flatten(1).numpy(),
        expressions=np.ascontiguousarray(expressions),
        trans=np.ascontiguousarray(motion[:, TRANSLATION]),
        betas=betas,
    )


def _generator(seed: int, clip: ClipInfo) -> np.random.Generator:
    return np.random.default_rng([seed, *clip.clip_id.encode()])


def _there_and_back(frames: int, start: int, length: int) -> NDArray[np.int64]:
    if frames == 1:
        return np.zeros(length, np.int64)
    place = np.arange(start, start + length) % (2 * frames - 2)
    return np.where(place < frames, place, 2 * frames - 2 - place)
