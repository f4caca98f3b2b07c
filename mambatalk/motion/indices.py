"""Constant indices of joints and channels as tensors.

PyTorch copies an index that is a list or an array to the GPU at every use, which stalls it and
cannot be recorded in a CUDA graph. These are copied once.
"""

from functools import cache

import torch
from torch import Tensor


@cache
def constant_index(values: tuple[int, ...], device: torch.device) -> Tensor:
    """Return indices as a tensor (n,) on a device, which the caller may not change."""
    # A tensor made in inference mode could never be part of a backward pass.
    with torch.inference_mode(False):
        return torch.tensor(values, device=device)


def select(x: Tensor, axis: int, values: tuple[int, ...]) -> Tensor:
    """Return the given places of an axis of `x`, as `x[..., values, ...]` does."""
    return x.index_select(axis, constant_index(values, x.device))
