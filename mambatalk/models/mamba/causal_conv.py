"""The short causal depthwise convolution before the scan, followed by SiLU.

It uses the kernel of causal-conv1d on CUDA, compiled loops on a CPU, and PyTorch elsewhere.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mambatalk.models.mamba.compiled.load import is_compiled
from mambatalk.models.mamba.compiled.scan import CompiledConv
from mambatalk.models.mamba.scan import backend_name, requires_determinism


def causal_conv(
    x: Tensor, weight: Tensor, bias: Tensor | None, past: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Convolve each channel causally and apply SiLU.

    Args:
        x: Input (B, E, T).
        weight: Taps (E, 1, K), oldest first.
        bias: Bias (E,). If None, no bias.
        past: The K - 1 inputs (B, E, K - 1) before `x`. If None, zeros.

    Returns:
        Output (B, E, T) and the last K - 1 inputs (B, E, K - 1), the `past` of the next call.

    """
    taps = weight.shape[-1]
    padded = functional.pad(x, (taps - 1, 0)) if past is None else torch.cat((past, x), dim=-1)
    kernel = _kernel() if x.is_cuda and past is None and not requires_determinism(x) else None
    if kernel is not None:
        # The kernel has a variant for channels innermost, in eights. The scan of mamba-ssm needs
        # time innermost and would make a copy otherwise.
        keeps_layout = backend_name(x, x.shape[-1]) == "triton" and len(weight) % 8 == 0
        y = kernel(
            x if keeps_layout else x.contiguous(), weight.squeeze(1), bias, activation="silu"
        )
    elif is_compiled(padded):
        y = CompiledConv.apply(padded, weight, bias)
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
