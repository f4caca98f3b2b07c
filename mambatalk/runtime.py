"""What changes no result but must be settled before one: device, threads, seeds, deterministic
algorithms.
"""

import os
import random

import numpy as np
import torch


def make_deterministic(seed: int, threads: int) -> None:
    """Seed every generator and make torch give the same bits for the same seed on the same machine.

    Args:
        seed: Of python, numpy and torch.
        threads: Of torch; a fixed count, since sums depend on it.

    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
    # Deterministic mode also fills all new memory with NaN, which takes 8 % of a training step.
    # No result depends on it: nothing reads memory before writing it.
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.backends.cudnn.benchmark = False


def device() -> torch.device:
    """`MAMBATALK_DEVICE` where set, else CUDA where there is one, else the CPU."""
    return torch.device(
        os.environ.get("MAMBATALK_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
    )
