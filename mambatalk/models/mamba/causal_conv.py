"""The short depthwise convolution before the scan, with SiLU: causal-conv1d's kernel on CUDA,
PyTorch elsewhere.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mambatalk.models.mamba.scan import backend_name


def causal_conv(
    x: Tensor, weight: Tensor, bias: Tensor | None, past: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Convolve each channel with its past and apply SiLU.

    Args:
        x: Input (B, E, T).
        weight: Taps, oldest first (E, 1, K).
        bias: (E,) or none.
        past: The K - 1 inputs before `x` (B, E, K - 1); None is silence.

    Returns:
        Output (B, E, T) and the last K - 1 inputs, for the next call.

    """
    taps = weight.shape[-1]
    padded = functional.pad(x, (taps - 1, 0)) if past is None else torch.cat((past, x), dim=-1)
    kernel = _kernel() if past is None and backend_name(x) == "mamba_ssm" else None
    if kernel is not None:
        # Both kernels want time innermost; the scan would copy otherwise.
        y = kernel(x.contiguous(), weight.squeeze(1), bias, activation="silu")
    else:
        y = functional.silu(functional.conv1d(padded, weight, bias, groups=len(weight)))
    return y, padded[..., 1 - taps :]


@cache
def _kernel() -> Any:
    try:
        from causal_conv1d import causal_conv1d_fn
    except (ImportError, OSError):
        return None
    return causal_conv1d_fn
