"""Windows of the two splits."""

import numpy as np
import pytest
import torch

from mambatalk.errors import InputError
from mambatalk.features.store import FeatureStore
from mambatalk.fidelity import CORRECTED
from mambatalk.training.loop.data import TrainingData
from tests.helpers.tiny_training import CPU


def windows_of(store: FeatureStore, *, length: int = 64, stride: int = 20) -> TrainingData:
    return TrainingData.from_store(
        store,
        length=length,
        stride=stride,
        audio=False,
        rules=CORRECTED,
        batch_size=2,
        seed=0,
    )


def test_training_windows_overlap_and_validation_windows_do_not(store: FeatureStore) -> None:
    data = windows_of(store)
    assert data.train.tolist() == [[0, first] for first in range(0, 180 - 64 + 1, 20)]
    assert data.validation.tolist() == [[1, 0]]


def test_clips_shorter_than_a_window_are_reported_in_one_line(store: FeatureStore) -> None:
    with pytest.raises(InputError, match="split val: expected a clip of 150 frames, found no win"):
        windows_of(store, length=150)


def test_subsample_is_evenly_spaced_over_the_training_windows(store: FeatureStore) -> None:
    data = windows_of(store, stride=1)
    batches = list(data.subsample(CPU, count=20))
    frames = torch.cat([batch.frames for batch in batches])
    assert np.unique(np.diff(frames)).tolist() == [len(data.train) // 20]
    assert len(frames) >= 20
    assert all(batch.audio is None for batch in batches)


def test_few_training_windows_are_all_in_the_subsample(store: FeatureStore) -> None:
    data = windows_of(store)
    batches = list(data.subsample(CPU))
    assert torch.cat([batch.frames for batch in batches]).tolist() == data.train[:, 1].tolist()
