"""Device, threads, random seeds and deterministic algorithms.

They are not parameters of the pipeline, but they change the last bits of results, so they are set
before anything is computed.
"""

import os
import random

import numpy as np
import torch
import torch.utils.deterministic as _deterministic

from mambatalk.errors import InputError


def make_deterministic(seed: int, threads: int) -> None:
    """Seed all random number generators and select deterministic algorithms.

    On a CPU the same seed then gives the same bits on the same machine. Where CUDA is available,
    deterministic algorithms are selected only if `MAMBATALK_DETERMINISTIC=1`, because they are
    slower; operations that have none only warn.

    Args:
        seed: Seed for Python, NumPy and PyTorch.
        threads: Number of threads of PyTorch. It is fixed because it changes the order of sums.

    """
    # cuBLAS reads this when it is initialised; without it, its products are not deterministic.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    cuda = torch.cuda.is_available()
    if cuda:
        wanted = os.environ.get("MAMBATALK_DETERMINISTIC", "") == "1"
        torch.use_deterministic_algorithms(wanted, warn_only=True)
    else:
        # The same, without importing torch's compiler to set a flag of it, which takes 1.2 s.
        torch.set_deterministic_debug_mode("error")
    # Deterministic mode also fills all new memory with NaN, which takes 8 % of a training step.
    # No result depends on it: nothing reads memory before writing it.
    _deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False


def rank() -> int:
    """Return the index of this process among those of a training: `RANK` of torchrun, or 0."""
    return int(os.environ.get("RANK", "0"))


def device() -> torch.device:
    """Return the device to compute on: `MAMBATALK_DEVICE`, else CUDA if available, else the CPU.

    If torchrun started several processes, each one gets a GPU of its own.

    Raises:
        InputError: PyTorch knows no such device, or there are more processes than GPUs.

    """
    name = os.environ.get("MAMBATALK_DEVICE", "")
    default = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(name.lower() or default)
    except RuntimeError:
        raise InputError(
            "MAMBATALK_DEVICE", f"expected cpu, cuda or cuda:1, found {name!r}", "correct it"
        ) from None
    if chosen.type != "cuda" or "LOCAL_RANK" not in os.environ:
        return chosen
    local_rank = int(os.environ["LOCAL_RANK"])
    # Every process refuses, not only those without a GPU: the others would wait for them, and then
    # report that torchrun has stopped them.
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", local_rank + 1))
    if processes > torch.cuda.device_count():
        raise InputError(
            "processes",
            f"expected at most {torch.cuda.device_count()}, one for each GPU, found {processes}",
            "start fewer (--nproc-per-node of torchrun)",
        )
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)
