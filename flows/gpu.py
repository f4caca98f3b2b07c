"""Places where a stage may run: one for each GPU, or one for a machine without a GPU.

A place is a lock on a file, which the stage inherits: the kernel frees it when the flow and the
last process of the stage have ended, in whatever way. A training that lives on after its flow was
killed keeps its GPU. Prefect's limits only queue: a lease can expire while a training still runs.
"""

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from flows.workspace import Workspace
from mambatalk.errors import InputError
from tasks.tracking.store import home

_POLL_SECONDS: Final = 0.2
_PRINT_UUIDS: Final = """
import torch
for index in range(torch.cuda.device_count()):
    print(f"GPU-{torch.cuda.get_device_properties(index).uuid}")
"""
"""Program that prints the UUIDs of the GPUs that CUDA shows it."""


@dataclass(frozen=True)
class Place:
    """One place: the lock that reserves it and the environment of the stage that holds it."""

    lock: Path
    variables: dict[str, str]


@dataclass(frozen=True)
class ReservedPlace:
    """A place that is held: what a stage needs to use it, and to go on holding it."""

    variables: dict[str, str]
    """Added to the stage's environment, such as `CUDA_VISIBLE_DEVICES`."""
    descriptor: int
    """The locked file, for the stage to inherit."""


@contextmanager
def reserve_place(workspace: Workspace) -> Iterator[ReservedPlace]:
    """Wait for a free place and hold it for the length of the block.

    Raises:
        InputError: See `places`.

    """
    available = places(workspace)
    while True:
        for place in available:
            with hold_lock(place.lock) as descriptor:
                if descriptor is not None:
                    yield ReservedPlace(place.variables, descriptor)
                    return
        time.sleep(_POLL_SECONDS)


@contextmanager
def hold_lock(path: Path) -> Iterator[int | None]:
    """Hold a lock for the length of the block, and as long as a process that inherits it runs.

    Args:
        path: The file to lock; it and its folder are created if they are missing.

    Yields:
        Descriptor of the locked file, for processes to inherit; None if another process holds it.

    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        yield None
        return
    try:
        yield descriptor
    finally:
        # Without unlocking: a process that inherited the file may still run.
        os.close(descriptor)


def places(workspace: Workspace) -> list[Place]:
    """Return the places of this machine: one for each visible GPU, or one if there is none.

    `MAMBATALK_SLOTS` limits the number of GPUs, or sets the number of places without a GPU. GPU
    locks are shared by all workspaces of a user (under `MAMBATALK_HOME`); places without a GPU
    belong to one workspace.

    Raises:
        InputError: `MAMBATALK_SLOTS` is not a whole number from 1, or CUDA fails to name its GPUs.

    """
    gpus = _visible_gpus()
    count = _configured_count()
    if gpus:
        folder = home() / "gpu"
        return [
            Place(folder / f"{gpu.replace('/', '-')}.lock", {"CUDA_VISIBLE_DEVICES": gpu})
            for gpu in gpus[:count]
        ]
    folder = workspace.paths.runs / "places"
    return [Place(folder / f"{number}.lock", {}) for number in range(count or 1)]


def _configured_count() -> int | None:
    text = os.environ.get("MAMBATALK_SLOTS")
    if not text:
        return None
    if not text.isdecimal() or int(text) == 0:
        raise InputError(
            "MAMBATALK_SLOTS",
            f"expected a whole number from 1, found {text!r}",
            "set it to one, or unset it",
        )
    return int(text)


def _visible_gpus() -> list[str]:
    """Return the UUID of each GPU that this process may use, such as `GPU-1b2c...`.

    Locks are named by it, because the index of a GPU is 0 in every container that has one GPU.
    """
    import torch

    if not torch.cuda.device_count():
        # A variable that names GPUs on a machine without one is a mistake; the stage reports it.
        return [gpu for gpu in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if gpu]
    return list(_uuids(os.environ.get("CUDA_VISIBLE_DEVICES")))


@cache
def _uuids(visible: str | None) -> tuple[str, ...]:
    """Return the UUIDs of the GPUs that a value of `CUDA_VISIBLE_DEVICES` names; None for all."""
    # In a process of its own: asking reserves memory of a GPU until the process ends.
    variables = os.environ if visible is None else os.environ | {"CUDA_VISIBLE_DEVICES": visible}
    answer = subprocess.run(
        [sys.executable, "-c", _PRINT_UUIDS],
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode:
        error = answer.stderr.strip().splitlines()[-1:]
        raise InputError(
            "GPU",
            f"expected CUDA to name its devices, found an error ({''.join(error)})",
            "run nvidia-smi, or set CUDA_VISIBLE_DEVICES to nothing to use the processor",
        )
    return tuple(answer.stdout.split())
