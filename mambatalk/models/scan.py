"""The selective scan of Mamba: mamba-ssm's kernel on CUDA, our own PyTorch scan everywhere else.

h_t = exp(delta_t A) h_{t-1} + delta_t B_t u_t and y_t = C_t h_t + D u_t, then gated by SiLU(z). Our scan is a loop over
time with a backward written by hand: exact at any step size, linear in memory, deterministic, and on a CPU faster than
a chunked scan or `associative_scan` (`mambatalk bench scan` measures by how much). Source: Mamba, sections 3.2 and 3.3.
"""

import logging
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional

Backend = Literal["mamba_ssm", "torch"]

log = logging.getLogger(__name__)


def selective_scan(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, *,
    D: Tensor | None = None, z: Tensor | None = None, delta_bias: Tensor | None = None, delta_softplus: bool = True,
    state: Tensor | None = None, backend: Backend | None = None,
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
        Output (B, E, T) and the state (B, E, N) after the last step, from which the next call can go on.

    """
    backend = backend or backend_name(u)
    with torch.autocast(u.device.type, enabled=False):
        return _scan(backend, u, delta, A, B, C, D, z, delta_bias, delta_softplus, state)


def _scan(
    backend: Backend, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, z: Tensor | None,
    delta_bias: Tensor | None, delta_softplus: bool, state: Tensor | None,
) -> tuple[Tensor, Tensor]:
    if backend == "mamba_ssm" and state is None:
        return _kernel()(u, delta, A, B, C, D, z=z, delta_bias=delta_bias, delta_softplus=delta_softplus,
                         return_last_state=True)
    steps = delta if delta_bias is None else delta + delta_bias[:, None]
    steps = functional.softplus(steps) if delta_softplus else steps
    if backend == "mamba_ssm":
        y, last = _kernel()(u, steps, A, B, C, delta_softplus=False, return_last_state=True)
        carried, kept = _carried(state, steps, A, C)
        y, last = y + carried, last + kept
    else:
        y, last = SelectiveScan.apply(u, steps, A, B, C, state)
    y = y if D is None else y + D[:, None] * u
    return (y if z is None else y * functional.silu(z)), last


def backend_name(tensor: Tensor) -> Backend:
    """Backend for tensors like this one; the first call for a kind of device says so in the log.

    The kernel's backward adds in no fixed order, so `torch.use_deterministic_algorithms(True)` rules it out for
    training; with `warn_only=True`, or without gradients, it stays.
    """
    strict = torch.are_deterministic_algorithms_enabled() and not torch.is_deterministic_algorithms_warn_only_enabled()
    return _choose(tensor.device.type, strict and torch.is_grad_enabled())


@cache
def _choose(device: str, deterministic: bool) -> Backend:
    if device != "cuda":
        backend, why = "torch", f"on {device}"
    elif deterministic:
        backend, why = "torch", "on cuda: deterministic algorithms are asked for"
    elif _kernel() is None:
        backend, why = "torch", "on cuda: mamba-ssm's kernel cannot be imported"
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


def _carried(state: Tensor, steps: Tensor, A: Tensor, C: Tensor) -> tuple[Tensor, Tensor]:
    """What an initial state adds to the outputs and to the last state: the scan is linear in it."""
    decay = torch.exp(steps.cumsum(-1)[..., None] * A[:, None])
    held = decay * state[:, :, None]
    return torch.einsum("betn,bnt->bet", held, C), held[:, :, -1]


class SelectiveScan(torch.autograd.Function):
    """The recurrence alone: (u, steps, A, B, C, state) to (outputs, last state), with its reverse scan.

    Inside, time comes first, so that each step is one contiguous block.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx, u: Tensor, steps: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Run forward in time."""
        step, inputs = _time_first(steps), _time_first(B)
        decay = torch.exp(step[..., None] * A)
        states = (step * _time_first(u))[..., None] * inputs[:, :, None]
        if state is not None:
            states[0].addcmul_(decay[0], state)
        for t in range(1, len(states)):
            states[t].addcmul_(decay[t], states[t - 1])
        y = torch.einsum("tben,tbn->bet", states, _time_first(C))
        ctx.save_for_backward(u, steps, A, B, C, state, decay, states)
        return y, states[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor, grad_last: Tensor) -> tuple[Tensor | None, ...]:
        """Run backward in time."""
        u, steps, A, B, C, state, decay, states = ctx.saved_tensors
        grad_out, output = _time_first(grad_y), _time_first(C)
        # Gradient of each state: its own output, and the next state through the decay.
        grad = grad_out[..., None] * output[:, :, None]
        grad[-1] += grad_last
        for t in range(len(grad) - 2, -1, -1):
            grad[t].addcmul_(decay[t + 1], grad[t + 1])
        grad_C = torch.einsum("tbe,tben->bnt", grad_out, states)
        step, source, inputs = _time_first(steps), _time_first(u), _time_first(B)
        grad_input = torch.einsum("tben,tbn->tbe", grad, inputs)
        grad_B = torch.einsum("tben,tbe->bnt", grad, step * source)
        grad_state = grad[0] * decay[0] if state is not None else None
        # From here on `grad` holds the gradient of the exponent, step * A.
        grad = grad.mul_(decay)
        grad[1:] *= states[:-1]
        grad[0] *= 0 if state is None else state
        grad_A = torch.einsum("tben,tbe->en", grad, step)
        grad_step = torch.einsum("tben,en->tbe", grad, A) + grad_input * source
        return _time_last(grad_input * step), _time_last(grad_step), grad_A, grad_B, grad_C, grad_state


def _time_first(x: Tensor) -> Tensor:
    return x.permute(2, 0, 1).contiguous()


def _time_last(x: Tensor) -> Tensor:
    return x.permute(1, 2, 0)
