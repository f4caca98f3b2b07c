"""The selective scan of Mamba: kernels on CUDA, compiled loops on a CPU, or PyTorch.

The scan computes h_t = exp(delta_t A) h_{t-1} + delta_t B_t u_t and y_t = C_t h_t + D u_t, then
multiplies y with the gate SiLU(z). On CUDA our Triton kernel serves sequences as short as the
network's windows, and the kernel of mamba-ssm longer ones. The compiled loops are for single
precision; PyTorch (`recurrence.py`) serves double precision, and CUDA without a kernel or, for long
sequences, where results must be deterministic. `mambatalk bench scan` compares them on a CPU.
Source: Mamba, sections 3.2 and 3.3.
"""

import logging
from functools import cache
from importlib.util import find_spec
from typing import Any, Final, Literal

import torch
from torch import Tensor
from torch.nn import functional

from mambatalk.models.mamba.compiled.load import is_available
from mambatalk.models.mamba.compiled.scan import CompiledScan
from mambatalk.models.mamba.recurrence import Recurrence

Backend = Literal["triton", "mamba_ssm", "numba", "torch"]
SHORT: Final = 256
"""Longest sequence for the Triton kernel, which walks through time step by step."""

log = logging.getLogger(__name__)


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    *,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    state: Tensor | None = None,
    backend: Backend | None = None,
) -> tuple[Tensor, Tensor]:
    """Run the selective scan over a sequence.

    Args:
        u: Input (B, E, T).
        delta: Step sizes before bias and softplus (B, E, T).
        A: Negative decay rates (E, N).
        B: Input weights (B, N, T).
        C: Output weights (B, N, T).
        D: Weights (E,) of the input in the output. If None, zero.
        z: Gate (B, E, T) before SiLU. If None, no gate.
        delta_bias: Bias (E,) added to `delta`. If None, no bias.
        state: State (B, E, N) before the first step. If None, zero.
        backend: Implementation. If None, `backend_name(u, T)`.

    Returns:
        Output (B, E, T) with the dtype of `u`, and the state (B, E, N) after the last step, the
        `state` of the next call. The kernels pass no gradients through that state.

    """
    backend = backend or backend_name(u, u.shape[-1])
    if backend == "triton":
        from mambatalk.models.mamba.triton_scan import triton_scan

        channels = len(A)
        skip = A.new_zeros(channels) if D is None else D
        bias = A.new_zeros(channels) if delta_bias is None else delta_bias
        y, last = triton_scan(u, delta, A, B, C, skip, z, bias, state)
        return y, last
    if backend == "mamba_ssm" and state is None:
        return _kernel()(
            u,
            delta,
            A,
            B,
            C,
            D,
            z=z,
            delta_bias=delta_bias,
            delta_softplus=True,
            return_last_state=True,
        )

    # Rounding errors would accumulate over the steps, so half precision is not used here.
    with torch.autocast(u.device.type, enabled=False):
        x, steps, inputs, outputs = (_at_least_single(tensor) for tensor in (u, delta, B, C))
        gate = None if z is None else _at_least_single(z)
        if backend == "numba":
            y, last = CompiledScan.apply(x, steps, A, inputs, outputs, D, gate, delta_bias, state)
            return y.to(u.dtype), last

        steps = steps if delta_bias is None else steps + delta_bias[:, None]
        steps = functional.softplus(steps)
        if backend == "torch":
            y, last = Recurrence.apply(x, steps, A, inputs, outputs, state)
        else:
            assert state is not None
            y, last = _kernel_from(x, steps, A, inputs, outputs, state)
        y = y if D is None else y + D[:, None] * x
        y = y if gate is None else y * functional.silu(gate)
    return y.to(u.dtype), last


def backend_name(tensor: Tensor, steps: int) -> Backend:
    """Choose the implementation of the scan for a tensor, and log the choice once.

    Args:
        tensor: Input of the scan.
        steps: Length of the sequence.

    Returns:
        Name of the implementation.

    """
    return _choose(
        tensor.device.type,
        tensor.dtype == torch.float64,
        requires_determinism(tensor),
        steps <= SHORT,
    )


def requires_determinism(tensor: Tensor) -> bool:
    """Return whether an operation on a tensor has to give the same bits every time.

    On CUDA the backward passes of mamba-ssm and causal-conv1d add in no fixed order, so they are
    not used for training under `torch.use_deterministic_algorithms`.
    """
    deterministic = torch.are_deterministic_algorithms_enabled()
    return tensor.is_cuda and deterministic and torch.is_grad_enabled()


@cache
def _choose(device: str, double: bool, deterministic: bool, short: bool) -> Backend:
    backend: Backend = "torch"
    reason = f"on {device}"
    if double:
        reason += ": double precision"
    elif device == "cpu":
        if is_available():
            backend = "numba"
    elif device == "cuda":
        # Triton comes with the CUDA builds of PyTorch.
        if short and find_spec("triton") is not None:
            backend = "triton"
        elif deterministic:
            reason += ": deterministic algorithms are required"
        elif _kernel() is None:
            reason += ": the kernel of mamba-ssm cannot be imported"
        else:
            backend = "mamba_ssm"
    log.info("selective scan: %s (%s)", backend, reason)
    return backend


@cache
def _kernel() -> Any:
    # A wheel built for another version of torch or CUDA raises OSError from the dynamic loader.
    try:
        from mamba_ssm.ops.selective_scan_interface import selective_scan_fn
    except (ImportError, OSError):
        return None
    return selective_scan_fn


def _kernel_from(
    u: Tensor,
    steps: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    state: Tensor,
) -> tuple[Tensor, Tensor]:
    """Run the kernel from an initial state, which it does not support itself.

    The recurrence is linear in the state, so the decayed initial state is added to the result.
    """
    y, last = _kernel()(u, steps, A, B, C, delta_softplus=False, return_last_state=True)
    decayed = torch.exp(steps.cumsum(-1)[..., None] * A[:, None]) * state[:, :, None]
    return y + torch.einsum("betn,bnt->bet", decayed, C), last + decayed[:, :, -1]


def _at_least_single(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
