"""The baselines: mean pose, random training clip, audio of another clip."""

from pathlib import Path

import numpy as np
import pytest

from mambatalk.errors import InputError
from mambatalk.evaluation.baselines import (
    fit_length,
    mean_pose,
    random_clip,
    shuffled_audio,
    stored_motion,
)
from mambatalk.features.store import FeatureStore, open_features
from tests.helpers.feature_folder import write_feature_folder


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    folder = write_feature_folder(
        tmp_path / "features",
        seconds=(6.0, 8.0, 5.0, 4.0, 9.0),
        splits=("train", "train", "test", "test", "test"),
    )
    return open_features(folder, tmp_path / "cache")


def test_the_mean_pose_is_the_mean_of_training_frames(store: FeatureStore) -> None:
    clip = store.clips_in_split("test")[0]
    held = mean_pose(store, clip)
    assert len(held) == clip.frames
    assert (held.poses == held.poses[0]).all()
    frames = [store.expressions[store.frames(clip)] for clip in store.clips_in_split("train")]
    np.testing.assert_allclose(held.expressions[0], np.concatenate(frames).mean(0), atol=1e-5)


def test_a_random_clip_is_part_of_the_training_motion(store: FeatureStore) -> None:
    test = store.clips_in_split("test")[0]
    chosen = random_clip(store, test, seed=0)
    assert len(chosen.poses) == test.frames
    training = np.concatenate(
        [stored_motion(store, clip).poses for clip in store.clips_in_split("train")]
    )
    starts = [
        k
        for k in range(len(training) - test.frames + 1)
        if np.array_equal(training[k : k + test.frames], chosen.poses)
    ]
    assert len(starts) == 1


def test_a_random_clip_depends_on_seed_and_clip_alone(store: FeatureStore) -> None:
    one, two = store.clips_in_split("test")[:2]
    same = [random_clip(store, one, seed=0).poses for _ in range(2)]
    np.testing.assert_array_equal(*same)
    others = [random_clip(store, one, seed=seed).poses for seed in range(1, 6)]
    assert any(not np.array_equal(same[0], other) for other in others)
    assert len(random_clip(store, two, seed=0).poses) == two.frames


def test_a_short_training_clip_is_played_forwards_and_backwards(store: FeatureStore) -> None:
    longest = store.clips_in_split("test")[2]
    poses = random_clip(store, longest, seed=0).poses
    assert len(poses) == longest.frames
    steps = np.abs(np.diff(poses, axis=0)).max(1)
    whole = np.concatenate(
        [
            np.abs(np.diff(stored_motion(store, clip).poses, axis=0)).max(1)
            for clip in store.clips_in_split("train")
        ]
    )
    assert steps.max() <= whole.max() + 1e-6, "no jump where it turns around"


def test_shuffled_audio_is_that_of_another_clip(store: FeatureStore) -> None:
    clips = store.clips_in_split("test")
    for seed in range(5):
        for clip in clips:
            assert shuffled_audio(store, clips, clip, seed=seed).clip_id != clip.clip_id
    assert shuffled_audio(store, clips[:1], clips[0], seed=0).split == "train"


def test_a_single_clip_without_training_clips_is_an_input_error(tmp_path: Path) -> None:
    store = open_features(
        write_feature_folder(tmp_path / "f", seconds=(4.0,), splits=("test",)), tmp_path / "cache"
    )
    with pytest.raises(InputError, match="at least one clip in split train"):
        shuffled_audio(store, store.clips, store.clips[0], seed=0)


def test_audio_is_cut_or_repeated_to_a_length() -> None:
    assert fit_length(np.arange(5), 3).tolist() == [0, 1, 2]
    assert fit_length(np.arange(3), 7).tolist() == [0, 1, 2, 0, 1, 2, 0]
