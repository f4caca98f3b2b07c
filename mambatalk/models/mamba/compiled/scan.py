"""Scan and convolution of Mamba on a CPU in single precision: autograd of the compiled loops."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mambatalk.models.mamba.compiled.load import loops


class CompiledScan(torch.autograd.Function):
    """The whole selective scan: step sizes, recurrence, skip connection and gate.

    It is differentiable with respect to all inputs, and deterministic.
    """

    @staticmethod
    def forward(
        ctx: Any,
        u: Tensor,
        delta: Tensor,
        A: Tensor,
        B: Tensor,
        C: Tensor,
        D: Tensor | None,
        z: Tensor | None,
        delta_bias: Tensor | None,
        state: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Run forward in time.

        Args:
            ctx: Context for the backward pass.
            u: Input (B, E, T), single precision like all inputs.
            delta: Step sizes before bias and softplus (B, E, T).
            A: Decay rates (E, N), negative.
            B: Input weights (B, N, T).
            C: Output weights (B, N, T).
            D: Weights (E,) of the input in the output. If None, zero.
            z: Gate (B, E, T) before SiLU. If None, no gate.
            delta_bias: Bias (E,) of the step sizes. If None, zero.
            state: State (B, E, N) before the first step. If None, zero.

        Returns:
            Output (B, E, T) and the state (B, E, N) after the last step.

        """
        channels, size = A.shape
        inputs = (
            _swapped(u),
            _swapped(delta),
            A.detach().T.contiguous(),
            _swapped(B),
            _swapped(C),
            u.new_zeros(channels) if D is None else D.detach().contiguous(),
            u.new_zeros(channels) if delta_bias is None else delta_bias.detach().contiguous(),
            u.new_empty(0, 0, 0) if z is None else _swapped(z),
            u.new_zeros(len(u), size, channels) if state is None else _swapped(state),
        )
        last = inputs[-1].clone()
        ungated = torch.empty_like(inputs[0])
        y = ungated if z is None else torch.empty_like(ungated)
        loops().scan_forward(*(x.numpy() for x in (*inputs[:-1], last, ungated, y)))
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(*inputs, ungated)
        return y.transpose(1, 2), last.transpose(1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor, grad_last: Tensor) -> tuple[Tensor | None, ...]:
        """Run backward in time: gradients of the nine inputs from those of the two outputs."""
        saved = ctx.saved_tensors
        u, delta, A, B, C, D, bias, z, _, _ = saved
        grads = (
            torch.empty_like(u),
            torch.empty_like(delta),
            torch.zeros_like(A),
            torch.zeros_like(B),
            torch.zeros_like(C),
            torch.zeros_like(D),
            torch.zeros_like(bias),
            torch.empty_like(z),
            _swapped(grad_last).clone(),
        )
        loops().scan_backward(*(x.numpy() for x in (*saved, _swapped(grad_y), *grads)))

        grad_u, grad_delta, grad_A, grad_B, grad_C, grad_D, grad_bias, grad_z, grad_state = grads
        needed = ctx.needs_input_grad
        return (
            grad_u.transpose(1, 2),
            grad_delta.transpose(1, 2),
            grad_A.T,
            grad_B.transpose(1, 2),
            grad_C.transpose(1, 2),
            grad_D if needed[5] else None,
            grad_z.transpose(1, 2) if needed[6] else None,
            grad_bias if needed[7] else None,
            grad_state.transpose(1, 2) if needed[8] else None,
        )


class CompiledConv(torch.autograd.Function):
    """The causal depthwise convolution, followed by SiLU."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Convolve.

        Args:
            ctx: Context for the backward pass.
            x: Past and input (B, E, T + K - 1), single precision.
            weight: Taps (E, 1, K), oldest first.
            bias: Bias (E,). If None, zero.

        Returns:
            Output (B, E, T).

        """
        rows = _swapped(x)
        taps = weight.detach().squeeze(1).T.contiguous()
        offset = x.new_zeros(len(weight)) if bias is None else bias.detach()
        y = x.new_empty(len(x), x.shape[2] - len(taps) + 1, len(weight))
        loops().conv_forward(*(array.numpy() for array in (rows, taps, offset, y)))
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(rows, taps, offset)
        return y.transpose(1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, ...]:
        """Compute the gradients of input, taps and bias."""
        saved = ctx.saved_tensors
        grads = [torch.zeros_like(array) for array in saved]
        loops().conv_backward(*(array.numpy() for array in (*saved, _swapped(grad_y), *grads)))
        grad_x, grad_taps, grad_bias = grads
        return (
            grad_x.transpose(1, 2),
            grad_taps.T[:, None],
            grad_bias if ctx.needs_input_grad[2] else None,
        )


def _swapped(x: Tensor) -> Tensor:
    """Return (B, X, Y) as a contiguous array (B, Y, X), without a copy if it lies so in memory."""
    return x.detach().transpose(1, 2).contiguous()
