"""Computations beside each other, and the condition for Triton kernels."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import Final, TypeVar

import torch
from torch import Tensor

Item = TypeVar("Item")
Result = TypeVar("Result")
THREADS: Final = 4
"""Threads that read or copy memory for a GPU."""
URGENT: Final = -1
"""Priority of these streams: the many small kernels of a window must not wait for large ones that
are computed at the same time.
"""


def has_kernels(x: Tensor) -> bool:
    """Return whether Triton kernels can work on a tensor: on CUDA, with Triton."""
    # It comes with the CUDA builds of PyTorch.
    return x.is_cuda and find_spec("triton") is not None


def side_by_side(tasks: Sequence[Callable[[], Result]]) -> list[Result]:
    """Return the results of independent computations, in their order.

    While a CUDA graph without gradients is recorded, each gets a stream of its own, so that the
    graph computes them at the same time: one window leaves most of a GPU idle. Otherwise they are
    computed one after the other.
    """
    recording = torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing()
    if not recording or torch.is_grad_enabled():
        return [task() for task in tasks]
    current = torch.cuda.current_stream()
    # All streams start to wait before any task is launched; one that started later would also wait
    # for the earlier tasks. PyTorch hands out 32 streams in turn, and a window takes some 20. Tasks
    # that happen to get the same one wait for each other.
    streams = [torch.cuda.Stream(priority=URGENT) for _ in tasks]
    for stream in streams:
        stream.wait_stream(current)
    results = []
    for stream, task in zip(streams, tasks, strict=True):
        with torch.cuda.stream(stream):
            results.append(task())
    for stream in streams:
        current.wait_stream(stream)
    return results


def on_threads(
    task: Callable[[Item], Result], items: Sequence[Item], device: torch.device
) -> Iterator[Result]:
    """Yield the results of a task that reads or copies memory, in the order of the items.

    For a GPU, some threads share the items, because one alone moves memory more slowly than a GPU
    reads it. On a CPU this thread does them all: the computation needs the others.
    """
    if device.type != "cuda" or len(items) < 2:
        yield from map(task, items)
        return
    with ThreadPoolExecutor(THREADS) as pool:
        yield from pool.map(task, items)
