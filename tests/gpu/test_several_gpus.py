"""Two processes on two GPUs (NCCL) train as one does with the same batch."""

import csv
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.helpers.tiny_training import tiny_store

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices"),
]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("joined")
    tiny_store(folder)
    return folder


def run(name: str, features: Path, folder: Path, *, size: int) -> None:
    """Train in some processes, one for each GPU."""
    folder.mkdir()
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(size), "-m", "tests.helpers.joined_training"]
    variables = os.environ | {"MAMBATALK_DEVICE": "cuda", "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [*command, name, str(features), str(folder)], cwd=ROOT, env=variables, check=True
    )


def curve(path: Path) -> np.ndarray[Any, Any]:
    with path.open() as file:
        rows = list(csv.reader(file))
    return np.array(rows[1:], float)


@pytest.mark.parametrize("name", ["fgd", "global", "hands", "generator"])
def test_two_gpus_have_the_loss_of_one(name: str, features: Path, tmp_path: Path) -> None:
    """The hands' codes and the generator's batch norm see half a batch each."""
    run(name, features, tmp_path / "one", size=1)
    run(name, features, tmp_path / "two", size=2)
    one, two = curve(tmp_path / "one" / "0.csv"), curve(tmp_path / "two" / "0.csv")
    tolerance = 0.1 if name == "generator" else 5e-3
    np.testing.assert_allclose(two[:3, 1], one[:3, 1], rtol=tolerance)
    assert (tmp_path / "two" / "1.csv").read_text() == (tmp_path / "two" / "0.csv").read_text()
    first, second = (torch.load(tmp_path / "two" / f"{rank}.pt") for rank in (0, 1))
    for key, value in first.items():
        assert torch.equal(value.cpu(), second[key].cpu()), key
