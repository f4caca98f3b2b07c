"""Fixtures of all training tests: one CPU thread, deterministic algorithms, tiny features."""

from collections.abc import Iterator

import pytest
import torch

from mambatalk.features.store import FeatureStore
from mambatalk.models.vq.vqvae import VQVAE
from mambatalk.motion.skeleton import Part
from mambatalk.runtime import make_deterministic
from tests.helpers.tiny_training import random_auto_encoders, tiny_store


@pytest.fixture(scope="package", autouse=True)
def _one_cpu_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    strict = torch.are_deterministic_algorithms_enabled()
    make_deterministic(0, 1)
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(strict)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return tiny_store(tmp_path_factory.mktemp("training"))


@pytest.fixture(scope="session")
def networks() -> dict[Part, VQVAE]:
    return random_auto_encoders()
