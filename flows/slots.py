"""Places where a stage may run: one for each GPU, or one for the machine."""

import os
import queue
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class Slots:
    """A queue of environments, each handed to one stage at a time."""

    def __init__(self) -> None:
        places = _places()
        self.count = len(places)
        self._free: queue.Queue[Mapping[str, str]] = queue.Queue()
        for place in places:
            self._free.put(place)

    @contextmanager
    def one(self) -> Iterator[Mapping[str, str]]:
        """Wait for a place, hold it, give it back."""
        place = self._free.get()
        try:
            yield place
        finally:
            self._free.put(place)


def _places() -> list[Mapping[str, str]]:
    """`MAMBATALK_SLOTS` places where set, else one for each visible GPU, else one."""
    wanted = os.environ.get("MAMBATALK_SLOTS")
    gpus = _visible_gpus()
    if gpus:
        return [{"CUDA_VISIBLE_DEVICES": gpu} for gpu in gpus[: int(wanted or len(gpus))]]
    return [{} for _ in range(int(wanted or 1))]


def _visible_gpus() -> list[str]:
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [gpu for gpu in named.split(",") if gpu]
    return [str(k) for k in range(torch.cuda.device_count())]
