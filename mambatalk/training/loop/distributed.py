"""Training in several processes, one for each GPU, that make every step together.

Each process runs the same program, which `torchrun` starts. The batch is divided among them,
DistributedDataParallel averages their gradients, and the first process writes checkpoints and
records. In a single process these functions change nothing.

PyTorch's own functions are enough for this; Lightning Fabric and accelerate would add a second
owner of checkpoints, random seeds and signals (docs/decisions.md).
"""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from mambatalk.runtime import rank
from mambatalk.training.loop.module import LossTerms, TrainingModule


@contextmanager
def joined_processes() -> Iterator[None]:
    """Join the other processes within a block, if `WORLD_SIZE` says that there are any."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    # Both backends, because small decisions (write a checkpoint, stop) must not wait for the GPU.
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    distributed.init_process_group(backend)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def processes() -> int:
    """Return the number of joined processes."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def wrapped(module: TrainingModule) -> nn.Module:
    """Return a module whose backward pass averages the gradients over all processes.

    Buffers are not synchronised in every step: batch norm normalises the part of the batch that a
    process has.
    """
    if processes() == 1:
        return module
    with warnings.catch_warnings():
        # Its successor is not in all versions of PyTorch that we support.
        warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
        # Every step uses the same parameters, but not necessarily all of them.
        run = DistributedDataParallel(module, static_graph=True, broadcast_buffers=False)
    # DDP times the first ten steps and then every 100th, and a CUDA graph cannot record that.
    run._set_ddp_runtime_logging_sample_rate(2**31 - 1)
    return run


def mean_terms(terms: LossTerms) -> LossTerms:
    """Return the means of scalar terms over all processes, without gradients."""
    if processes() == 1:
        return terms
    means = mean_over_processes(torch.stack([term.detach() for term in terms.values()]))
    return dict(zip(terms, means, strict=True))


def mean_over_processes(value: Tensor) -> Tensor:
    """Return the mean of a tensor over all processes."""
    if processes() == 1:
        return value
    total = value.clone()
    distributed.all_reduce(total)
    return total / processes()


def gather_rows(rows: Tensor) -> Tensor:
    """Return the rows (N, ...) of all processes one after the other."""
    if processes() == 1:
        return rows
    parts = [torch.empty_like(rows) for _ in range(processes())]
    distributed.all_gather(parts, rows.contiguous())
    return torch.cat(parts)


def gather_objects(value: Any) -> list[Any]:
    """Return the values of all processes, in the order of their ranks."""
    values = [value] * processes()
    if processes() > 1:
        distributed.all_gather_object(values, value)
    return values


def copy_from_first(*tensors: Tensor) -> None:
    """Overwrite tensors with those of the first process."""
    if processes() > 1:
        for tensor in tensors:
            # NCCL accepts only contiguous tensors. For others this is a copy, written back below.
            contiguous = tensor.detach().contiguous()
            distributed.broadcast(contiguous, 0)
            if not tensor.is_contiguous():
                tensor.detach().copy_(contiguous)


def any_process(*flags: bool) -> list[bool]:
    """Return for each flag whether any process has set it."""
    if processes() == 1:
        return list(flags)
    values = torch.tensor(flags, dtype=torch.uint8)
    distributed.all_reduce(values, distributed.ReduceOp.MAX)
    return [bool(value) for value in values]


def is_first() -> bool:
    """Return whether this is the process that writes and records."""
    return rank() == 0
