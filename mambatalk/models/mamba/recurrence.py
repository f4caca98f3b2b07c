"""The recurrence of the selective scan in PyTorch, with a backward written by hand.

A loop over time that works on blocks of a few steps, in two buffers small enough for the
processor's cache: what a step costs is memory traffic, not arithmetic. Only the state before each
block is kept; the backward computes a block's states again, which costs less than fetching them.
Exact at any step size, and deterministic.

Inside, arrays are (T, B, N, E): the long channel axis last makes every broadcast and sum a
contiguous one.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

BLOCK_NUMBERS = 2**19
"""Numbers in one buffer: 2 MiB in single precision."""


class Recurrence(torch.autograd.Function):
    """h_t = exp(delta_t A) h_{t-1} + delta_t B_t u_t, y_t = C_t h_t, differentiable in all six
    inputs.
    """

    @staticmethod
    def forward(
        ctx: Any,
        u: Tensor,
        delta: Tensor,
        A: Tensor,
        B: Tensor,
        C: Tensor,
        state: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Run forward in time.

        Args:
            ctx: For the backward.
            u: Input (B, E, T).
            delta: Step sizes (B, E, T), positive.
            A: Decay rates (E, N), negative.
            B: Input weights (B, N, T).
            C: Output weights (B, N, T).
            state: State (B, E, N) before the first step; None is zero.

        Returns:
            Output (B, E, T) and the state (B, E, N) after the last step.

        """
        x = _lay_out(u, delta, A, B, C)
        blocks = _Blocks(x)
        before = blocks.zeros() if state is None else state.transpose(1, 2).contiguous()
        y, kept = torch.empty_like(x.delta), []
        for block in blocks.slices:
            kept.append(before)
            _, states = blocks.run(block, before)
            torch.matmul(x.C[block, :, None], states[1:], out=y[block, :, None])
            before = states[-1].clone()
        ctx.has_state = state is not None
        ctx.save_for_backward(u, delta, A, B, C, *(kept if any(ctx.needs_input_grad) else ()))
        return _time_last(y), before.transpose(1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor, grad_last: Tensor) -> tuple[Tensor | None, ...]:
        """Run backward in time."""
        u, delta, A, B, C, *kept = ctx.saved_tensors
        x = _lay_out(u, delta, A, B, C)
        source, grad_y = _time_first(u), _time_first(grad_y)
        grad_u, grad_delta = torch.empty_like(x.delta), torch.empty_like(x.delta)
        grad_B, grad_C = torch.empty_like(x.B), torch.empty_like(x.C)
        blocks = _Blocks(x)
        grad_A, buffer, scratch = (
            blocks.zeros(),
            torch.empty_like(blocks.decay),
            torch.empty_like(blocks.decay),
        )
        after = grad_last.transpose(1, 2).contiguous()
        for block, before in reversed([*zip(blocks.slices, kept, strict=True)]):
            decay, states = blocks.run(block, before)
            # Gradient of each state: through its own output, and through the next state.
            grad = torch.mul(
                grad_y[block, :, None], x.C[block, ..., None], out=buffer[: len(decay)]
            )
            grad[-1] += after
            for t in range(len(grad) - 2, -1, -1):
                grad[t].addcmul_(decay[t + 1], grad[t + 1])
            after = decay[0] * grad[0]
            # Product and sum: a batch of small matrices times vectors costs several times as much.
            product = scratch[: len(decay)]
            torch.sum(
                torch.mul(states[1:], grad_y[block, :, None], out=product), -1, out=grad_C[block]
            )
            torch.sum(torch.mul(grad, x.drive[block, :, None], out=product), -1, out=grad_B[block])
            grad_drive = (x.B[block, :, None] @ grad).squeeze(2)
            grad_u[block] = grad_drive * x.delta[block]
            # From here on `grad` is the gradient of the exponent, delta A.
            grad.mul_(decay).mul_(states[:-1])
            for step, exponent in zip(x.delta[block], grad, strict=True):
                grad_A.addcmul_(exponent, step[:, None])
            grad_delta[block] = grad.mul_(x.A).sum(2) + grad_drive * source[block]
        grad_state = after.transpose(1, 2) if ctx.has_state else None
        return (
            _time_last(grad_u),
            _time_last(grad_delta),
            grad_A.sum(0).T,
            _time_last(grad_B),
            _time_last(grad_C),
            grad_state,
        )


class _LaidOut(NamedTuple):
    """The inputs with time first and channels last."""

    delta: Tensor
    drive: Tensor
    """delta u (T, B, E)."""
    A: Tensor
    B: Tensor
    C: Tensor


class _Blocks:
    """Runs of steps that share one buffer of decays and one of states."""

    def __init__(self, x: _LaidOut) -> None:
        (steps, batch, channels), size = x.delta.shape, len(x.A)
        length = max(1, min(steps, BLOCK_NUMBERS // (batch * channels * size)))
        self._x = x
        self.slices = [
            slice(start, min(start + length, steps)) for start in range(0, steps, length)
        ]
        self.decay = x.delta.new_empty(length, batch, size, channels)
        self._states = x.delta.new_empty(length + 1, batch, size, channels)

    def zeros(self) -> Tensor:
        """A state (B, N, E) of zeros."""
        return torch.zeros_like(self._states[0])

    def run(self, block: slice, before: Tensor) -> tuple[Tensor, Tensor]:
        """Decays (t, B, N, E) of a block and its states (t + 1, B, N, E), the one before it
        first.
        """
        x = self._x
        count = block.stop - block.start
        decay = torch.mul(x.delta[block, :, None], x.A, out=self.decay[:count]).exp_()
        states = self._states[: count + 1]
        states[0] = before
        torch.mul(x.drive[block, :, None], x.B[block, ..., None], out=states[1:])
        for t in range(count):
            states[t + 1].addcmul_(decay[t], states[t])
        return decay, states


def _lay_out(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> _LaidOut:
    step = _time_first(delta)
    return _LaidOut(step, step * _time_first(u), A.T.contiguous(), _time_first(B), _time_first(C))


def _time_first(x: Tensor) -> Tensor:
    return x.permute(2, 0, 1).contiguous()


def _time_last(x: Tensor) -> Tensor:
    return x.permute(1, 2, 0)
