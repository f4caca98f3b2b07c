"""Two processes on a CPU (gloo) train as one does with the same batch."""

import csv
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mambatalk.errors import InputError
from mambatalk.features.store import FeatureStore
from mambatalk.runtime import device
from mambatalk.training.loop.data import TrainingData
from tests.helpers.tiny_training import CPU, tiny_store

ROOT = Path(__file__).parents[4]


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("joined")
    tiny_store(folder)
    return folder


def run(
    name: str, features: Path, folder: Path, *, size: int, stop: tuple[int, int] | None = None
) -> list[int]:
    """Train in some processes, and send one of them SIGTERM in a step; return the exit codes."""
    folder.mkdir(exist_ok=True)
    processes = []
    port = free_port()
    for rank in range(size):
        command = [sys.executable, "-m", "tests.helpers.joined_training", name]
        command += [str(features), str(folder)]
        if stop is not None and stop[0] == rank:
            command.append(str(stop[1]))
        variables = {"RANK": str(rank), "WORLD_SIZE": str(size), "OMP_NUM_THREADS": "1"}
        variables["MAMBATALK_DEVICE"] = "cpu"
        variables |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        processes.append(subprocess.Popen(command, cwd=ROOT, env={**os.environ, **variables}))
    return [process.wait(300) for process in processes]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def curve(path: Path) -> np.ndarray[Any, Any]:
    with path.open() as file:
        rows = list(csv.reader(file))
    return np.array(rows[1:], float)


def weights(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fgd", "global", "hands"])
def test_two_processes_have_the_loss_of_one(name: str, features: Path, tmp_path: Path) -> None:
    """To rounding, because sums have another order; later a frame may get another code."""
    assert run(name, features, tmp_path / "one", size=1) == [0]
    assert run(name, features, tmp_path / "two", size=2) == [0, 0]
    one, two = curve(tmp_path / "one" / "0.csv"), curve(tmp_path / "two" / "0.csv")
    np.testing.assert_allclose(two[:5], one[:5], rtol=1e-3, atol=1e-6)
    assert (tmp_path / "two" / "1.csv").read_text() == (tmp_path / "two" / "0.csv").read_text()
    for key, value in weights(tmp_path / "two" / "0.pt").items():
        assert torch.equal(weights(tmp_path / "two" / "1.pt")[key], value)


@pytest.mark.slow
def test_dead_codes_are_the_same_in_two_processes_as_in_one(features: Path, tmp_path: Path) -> None:
    assert run("revival", features, tmp_path / "one", size=1) == [0]
    assert run("revival", features, tmp_path / "two", size=2) == [0, 0]
    whole = weights(tmp_path / "one" / "0.pt")
    assert whole["moved"] >= 56
    for rank in (0, 1):
        part = weights(tmp_path / "two" / f"{rank}.pt")
        assert all(torch.equal(part[key], value) for key, value in whole.items())


@pytest.mark.slow
def test_a_moving_average_is_of_the_latents_of_both_processes(
    features: Path, tmp_path: Path
) -> None:
    assert run("average", features, tmp_path / "one", size=1) == [0]
    assert run("average", features, tmp_path / "two", size=2) == [0, 0]
    whole = weights(tmp_path / "one" / "0.pt")
    first, second = (weights(tmp_path / "two" / f"{rank}.pt") for rank in (0, 1))
    for key, value in whole.items():
        torch.testing.assert_close(first[key], value)
        assert torch.equal(first[key], second[key])


@pytest.mark.slow
def test_two_processes_that_were_stopped_continue_to_the_same_bits(
    features: Path, tmp_path: Path
) -> None:
    """With random draws, which each process makes for itself."""
    assert run("random", features, tmp_path / "whole", size=2) == [0, 0]
    stopped = tmp_path / "stopped"
    # The second process is told to stop; the first writes the checkpoint.
    codes = run("random", features, stopped, size=2, stop=(1, 4))
    assert codes == [-signal.SIGTERM, -signal.SIGTERM]
    (checkpoint,) = (stopped / "scratch").iterdir()
    assert checkpoint.name.startswith("state-000001-00000001-")
    assert run("random", features, stopped, size=2) == [0, 0]
    assert (stopped / "0.csv").read_text() == (tmp_path / "whole" / "0.csv").read_text()
    for rank in (0, 1):
        for key, value in weights(tmp_path / "whole" / "0.pt").items():
            assert torch.equal(weights(stopped / f"{rank}.pt")[key], value)


def windows(store: FeatureStore, count: int, batch_size: int) -> TrainingData:
    rows = np.stack([np.zeros(count, np.int64), np.arange(count)], 1)
    return TrainingData(
        store=store,
        train=rows,
        validation=rows[:1],
        length=64,
        audio=False,
        batch_size=batch_size,
        seed=0,
    )


@pytest.mark.parametrize(("count", "batch_size"), [(9, 4), (4, 4), (6, 8)])
def test_the_parts_of_a_batch_make_up_the_whole(
    store: FeatureStore, count: int, batch_size: int
) -> None:
    data = windows(store, count, batch_size)
    for first in (0, 1):
        whole = [batch.frames for batch in data.training_batches(1, CPU, first=first)]
        parts = [
            [batch.frames for batch in data.training_batches(1, CPU, first=first, part=k, parts=2)]
            for k in (0, 1)
        ]
        joined = [torch.cat(both) for both in zip(*parts, strict=True)]
        assert [frames.tolist() for frames in joined] == [frames.tolist() for frames in whole]


def test_a_batch_that_cannot_be_divided_is_refused(store: FeatureStore) -> None:
    with pytest.raises(InputError, match="batch_size: expected a multiple of the 2 processes"):
        list(windows(store, 9, 3).training_batches(0, CPU, parts=2))


@pytest.mark.parametrize("rank", ["0", "2"])
def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch, rank: str) -> None:
    """By those that would have a GPU, too, so that all end with the same line."""
    monkeypatch.setenv("MAMBATALK_DEVICE", "cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", rank)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    with pytest.raises(InputError, match="expected at most 2, one for each GPU, found 4"):
        device()
