"""The selective scan of Mamba: mamba-ssm's kernel on CUDA, our own PyTorch scan everywhere else.

h_t = exp(delta_t A) h_{t-1} + delta_t B_t u_t and y_t = C_t h_t + D u_t, then gated by SiLU(z).
`mambatalk bench scan` measures our scan (`recurrence.py`) against the other ways to write it.
Source: Mamba, sections 3.2 and 3.3.
"""

import logging
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from mambatalk.models.mamba.recurrence import Recurrence

Backend = Literal["mamba_ssm", "torch"]

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
    delta_softplus: bool = True,
    state: Tensor | None = None,
    backend: Backend | None = None,
) -> tuple[Tensor, Tensor]:
    """Scan a sequence.

    Args:
        u: Input (B, E, T).
        delta: Step sizes before bias and softplus (B, E, T).
        A: Negative decay rates (E, N).
        B: Input weights (B, N, T).
        C: Output weights (B, N, T).
        D: Weights of the input in the output (E,).
        z: Gate (B, E, T).
        delta_bias: Added to `delta` (E,).
        delta_softplus: Pass the step sizes through softplus.
        state: State (B, E, N) that the sequence goes on from; None starts at zero.
        backend: None takes `backend_name(u)`.

    Returns:
        Output (B, E, T) and the state (B, E, N) after the last step, from which the next call can
        go on. The kernel passes no gradient through that state; ours does.

    """
    backend = backend or backend_name(u)
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
            delta_softplus=delta_softplus,
            return_last_state=True,
        )
    with torch.autocast(u.device.type, enabled=False):
        x, steps, inputs, outputs = (_at_least_single(tensor) for tensor in (u, delta, B, C))
        steps = steps if delta_bias is None else steps + delta_bias[:, None]
        steps = functional.softplus(steps) if delta_softplus else steps
        if backend == "torch" or state is None:
            y, last = Recurrence.apply(x, steps, A, inputs, outputs, state)
        else:
            y, last = _kernel_from(x, steps, A, inputs, outputs, state)
        y = y if D is None else y + D[:, None] * x
        y = y if z is None else y * functional.silu(_at_least_single(z))
    return y.to(u.dtype), last


def backend_name(tensor: Tensor) -> Backend:
    """Backend for tensors like this one; the first call for a kind of device says so in the log.

    The kernel's backward adds in no fixed order, so `torch.use_deterministic_algorithms(True)`
    rules it out for training; with `warn_only=True`, or without gradients, it stays.
    """
    strict = (
        torch.are_deterministic_algorithms_enabled()
        and not torch.is_deterministic_algorithms_warn_only_enabled()
    )
    return _choose(tensor.device.type, tensor.is_cuda and strict and torch.is_grad_enabled())


@cache
def _choose(device: str, deterministic: bool) -> Backend:
    backend: Backend = "torch"
    if device != "cuda":
        why = f"on {device}"
    elif deterministic:
        why = "on cuda: deterministic algorithms are asked for"
    elif _kernel() is None:
        why = "on cuda: mamba-ssm's kernel cannot be imported"
    else:
        backend, why = "mamba_ssm", "on cuda"
    log.info("selective scan: %s (%s)", backend, why)
    return backend


@cache
def _kernel() -> Any:
    # A wheel for another torch or CUDA raises OSError from the loader, not ImportError.
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
    """The kernel, which knows no initial state, from one: the recurrence is linear in it."""
    y, last = _kernel()(u, steps, A, B, C, delta_softplus=False, return_last_state=True)
    held = torch.exp(steps.cumsum(-1)[..., None] * A[:, None]) * state[:, :, None]
    return y + torch.einsum("betn,bnt->bet", held, C), last + held[:, :, -1]


def _at_least_single(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
