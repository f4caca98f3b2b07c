"""Places where a stage may run: one for each GPU, or one for a machine without.

A place is a lock file. The kernel frees it when its holder ends in any way, and it also holds
between flow runs of different processes, which Prefect's task runners do not.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from flows.workspace import Workspace
from mambatalk.errors import InputError
from tasks.tracking.store import home

_POLL_SECONDS: Final = 0.2


@dataclass(frozen=True)
class Place:
    """One place: the lock that reserves it and the environment of the stage that holds it."""

    lock: Path
    variables: dict[str, str]


@contextmanager
def reserve_place(workspace: Workspace) -> Iterator[dict[str, str]]:
    """Wait for a free place and hold it for the length of the block.

    Yields:
        Environment variables for the stage, such as `CUDA_VISIBLE_DEVICES`.

    """
    available = places(workspace)
    while True:
        for place in available:
            place.lock.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(place.lock)
            try:
                lock.acquire(blocking=False)
            except Timeout:
                continue
            try:
                yield place.variables
            finally:
                lock.release()
            return
        time.sleep(_POLL_SECONDS)


def places(workspace: Workspace) -> list[Place]:
    """Return the places of this machine: one for each visible GPU, or one if there is none.

    `MAMBATALK_SLOTS` limits the number of GPUs, or sets the number of places without a GPU. GPU
    locks are shared by all workspaces of a user (under `MAMBATALK_HOME`); places without a GPU
    belong to one workspace.
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
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [gpu for gpu in visible.split(",") if gpu]
    return [str(index) for index in range(torch.cuda.device_count())]
