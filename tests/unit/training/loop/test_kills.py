"""A training that SIGKILL ends at random moments, again and again, gives the bits of one that runs
through.
"""

import os
import random
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from mambatalk.training.loop.checkpoints import PARTIAL

ROOT = Path(__file__).parents[4]


class Trainings:
    """Trainings of one network, one after the other; see `tests.helpers.killable_training`."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self._lines: list[str] = []
        self._rest = b""

    def start(self, folder: Path) -> int:
        """Start or continue the training of a folder and return its process id."""
        assert self.process.stdin
        self.process.stdin.write(f"{folder}\n".encode())
        self.process.stdin.flush()
        return int(self.line("pid").split()[1])

    def line(self, word: str, *, deadline: float | None = None) -> str:
        """Return the next line with a word; empty if the deadline comes first."""
        while True:
            while self._lines:
                found = self._lines.pop(0)
                if found.startswith(word):
                    return found
            left = 120.0 if deadline is None else max(0.0, deadline - time.monotonic())
            assert self.process.stdout
            output = self.process.stdout.fileno()
            if not select.select([output], [], [], left)[0]:
                assert deadline is not None, f"no line with {word!r}"
                return ""
            data = os.read(output, 65536)
            assert data, "the process has ended"
            *complete, self._rest = (self._rest + data).split(b"\n")
            self._lines += [line.decode() for line in complete]

    def result(self, folder: Path) -> tuple[dict[str, torch.Tensor], str]:
        """Train to the end; return weights and curve."""
        self.start(folder)
        assert self.line("ended") == "ended 0"
        weights = torch.load(folder / "weights.pt", weights_only=True)
        return weights, (folder / "curve.csv").read_text()


def position(folder: Path) -> tuple[int, int]:
    """Return the epoch and the step of the newest checkpoint."""
    newest = max((folder / "scratch").glob("state-*"), default=Path("state-0-0-"))
    found = re.match(r"state-(\d+)-(\d+)-", newest.name)
    assert found
    return int(found[1]), int(found[2])


@contextmanager
def trainings(name: str, folder: Path, *, epochs: int) -> Iterator[Trainings]:
    module = "tests.helpers.killable_training"
    process = subprocess.Popen(
        [sys.executable, "-m", module, name, str(epochs), str(folder)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        yield Trainings(process)


def kill_at_random_moments(trainings: Trainings, folder: Path, kills: int) -> tuple[int, int]:
    """Kill a training as many times, each within its first few steps.

    Returns:
        Number of kills during a write, and of those in the same epoch as the one before.

    """
    moments = random.Random(7)
    in_writes, in_same_epoch = 0, 0
    last_epoch = -1
    for _ in range(kills):
        child = trainings.start(folder)
        for _ in range(moments.randint(1, 3)):
            trainings.line("step")
        # At any moment of the following steps, their writes and validations.
        trainings.line("ended", deadline=time.monotonic() + moments.uniform(0, 0.1))
        os.kill(child, signal.SIGKILL)
        assert trainings.line("ended") == f"ended {int(signal.SIGKILL)}"
        in_writes += (folder / "scratch" / PARTIAL).exists()
        epoch, _ = position(folder)
        in_same_epoch += epoch == last_epoch
        last_epoch = epoch
    return in_writes, in_same_epoch


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kills"), [("hands", 30), ("generator", 3)])
def test_a_training_that_is_killed_at_random_moments_gives_the_same_bits(
    name: str, kills: int, tmp_path: Path
) -> None:
    epochs = 4 + 2 * kills
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    with trainings(name, tmp_path, epochs=epochs) as running:
        weights, curve = running.result(whole)
        in_writes, in_same_epoch = kill_at_random_moments(running, killed, kills)
        assert position(killed)[0] < epochs, "the training was still going on"
        resumed_weights, resumed_curve = running.result(killed)
    assert all(torch.equal(value, resumed_weights[key]) for key, value in weights.items())
    assert resumed_curve == curve
    if kills >= 30:
        assert in_writes >= 5
        assert in_same_epoch >= 1
