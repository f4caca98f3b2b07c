"""The recurrence of the selective scan in PyTorch, with a backward pass written by hand.

The loop over time works on blocks of a few steps, in buffers small enough for the cache, because
memory traffic and not arithmetic takes most of the time of a step. Only the state before each block
is saved. The backward pass recomputes the states of a block, which takes less time than reading
them back from memory. The result is exact at any step size, and deterministic.

Internal arrays are (B, T, N, E): with the long channel axis last, every broadcast and every sum
runs over contiguous memory. Inputs whose memory is already (B, T, E) are used without a copy.
"""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

BLOCK_NUMBERS = 2**18
"""Elements of one buffer: 1 MiB in single precision."""


class Recurrence(torch.autograd.Function):
    """Recurrence h_t = exp(delta_t A) h_{t-1} + delta_t B_t u_t with output y_t = C_t h_t.

    It is differentiable with respect to all six inputs.
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
            ctx: Context for the backward pass.
            u: Input (B, E, T).
            delta: Step sizes (B, E, T), positive.
            A: Decay rates (E, N), negative.
            B: Input weights (B, N, T).
            C: Output weights (B, N, T).
            state: State (B, E, N) before the first step. If None, zero.

        Returns:
            Output (B, E, T) and the state (B, E, N) after the last step.

        """
        source = _channels_last(u)
        step = _channels_last(delta)
        x = _Inputs(step, step * source, A.T.contiguous(), _channels_last(B), _channels_last(C))
        blocks = _Blocks(x)

        before = blocks.zero_state() if state is None else state.transpose(1, 2).contiguous()
        y = torch.empty_like(step)
        kept = []
        for block in blocks.slices:
            kept.append(before)
            _, states = blocks.run(block, before)
            y[:, block] = (x.C[:, block, None] @ states).squeeze(2)
            before = states[:, -1].clone()

        ctx.has_state = state is not None
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(source, *x, *kept)
        return y.transpose(1, 2), before.transpose(1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor, grad_last: Tensor) -> tuple[Tensor | None, ...]:
        """Run backward in time: gradients of the six inputs from those of the two outputs."""
        source, *inputs, kept = _split_saved(ctx.saved_tensors)
        x = _Inputs(*inputs)
        grad_y = _channels_last(grad_y)
        blocks = _Blocks(x)

        grad_u = torch.empty_like(x.delta)
        grad_delta = torch.empty_like(x.delta)
        grad_B = torch.empty_like(x.B)
        grad_C = torch.empty_like(x.C)
        grad_A = torch.zeros_like(x.A)
        after = grad_last.transpose(1, 2).contiguous()

        for block, before in reversed([*zip(blocks.slices, kept, strict=True)]):
            decay, states = blocks.run(block, before)
            grad_output = grad_y[:, block, None]
            step = x.delta[:, block]

            # Gradient of each state: from its own output, and from the next state.
            grad = blocks.buffer("grad", block)
            torch.mul(grad_output, x.C[:, block, :, None], out=grad)
            grads = grad.unbind(1)
            decays = decay.unbind(1)
            grads[-1].add_(after)
            for t in range(len(grads) - 2, -1, -1):
                grads[t].addcmul_(decays[t + 1], grads[t + 1])
            after = decays[0] * grads[0]

            # Row times matrix: MKL takes seven times as long for the same product written as
            # matrix times column.
            grad_C[:, block] = (grad_output @ states.transpose(2, 3)).squeeze(2)
            grad_B[:, block] = (x.drive[:, block, None] @ grad.transpose(2, 3)).squeeze(2)
            grad_drive = (x.B[:, block, None] @ grad).squeeze(2)
            grad_u[:, block] = grad_drive * step

            # From here on `grad` is the gradient of the exponent, delta A.
            grad.mul_(decay)
            grad[:, 1:].mul_(states[:, :-1])
            grads[0].mul_(before)
            product = torch.mul(grad, step[:, :, None], out=decay)
            grad_A += product.sum((0, 1))
            product = torch.mul(grad, x.A, out=decay)
            grad_delta[:, block] = product.sum(2).addcmul_(grad_drive, source[:, block])

        grad_state = after.transpose(1, 2) if ctx.has_state else None
        return (
            grad_u.transpose(1, 2),
            grad_delta.transpose(1, 2),
            grad_A.T,
            grad_B.transpose(1, 2),
            grad_C.transpose(1, 2),
            grad_state,
        )


class _Inputs(NamedTuple):
    """The inputs of the recurrence with time before channels."""

    delta: Tensor
    """Step sizes (B, T, E)."""

    drive: Tensor
    """Product delta u (B, T, E)."""

    A: Tensor
    """Decay rates (N, E)."""

    B: Tensor
    """Input weights (B, T, N)."""

    C: Tensor
    """Output weights (B, T, N)."""


class _Blocks:
    """Blocks of consecutive steps, and the buffers that they share."""

    def __init__(self, x: _Inputs) -> None:
        batch, steps, channels = x.delta.shape
        self._state_shape = (batch, len(x.A), channels)
        length = BLOCK_NUMBERS // math.prod(self._state_shape)
        self._length = max(1, min(steps, length))
        self._x = x
        # exp2 takes less than half the time of exp.
        self._rate = x.A * math.log2(math.e)
        self._buffers: dict[str, Tensor] = {}
        self.slices = [
            slice(start, min(start + self._length, steps))
            for start in range(0, steps, self._length)
        ]

    def zero_state(self) -> Tensor:
        """Return a state (B, N, E) of zeros."""
        return self._x.delta.new_zeros(self._state_shape)

    def buffer(self, name: str, block: slice) -> Tensor:
        """Return the buffer of a name as (B, t, N, E), where t is the length of the block."""
        state_numel = math.prod(self._state_shape)
        if name not in self._buffers:
            self._buffers[name] = self._x.delta.new_empty(self._length * state_numel)
        batch, size, channels = self._state_shape
        steps = block.stop - block.start
        used = self._buffers[name][: steps * state_numel]
        return used.view(batch, steps, size, channels)

    def run(self, block: slice, before: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the decays and the states of a block.

        Args:
            block: Steps of the block.
            before: State (B, N, E) before its first step.

        Returns:
            Decays exp(delta A) and states, both (B, t, N, E), in shared buffers that the next call
            overwrites.

        """
        x = self._x
        decay = self.buffer("decay", block)
        torch.mul(x.delta[:, block, None], self._rate, out=decay).exp2_()
        states = self.buffer("states", block)
        torch.mul(x.drive[:, block, None], x.B[:, block, :, None], out=states)

        for factor, state in zip(decay.unbind(1), states.unbind(1), strict=True):
            state.addcmul_(factor, before)
            before = state
        return decay, states


def _split_saved(saved: tuple[Tensor, ...]) -> tuple[Any, ...]:
    count = 1 + len(_Inputs._fields)
    return *saved[:count], saved[count:]


def _channels_last(x: Tensor) -> Tensor:
    return x.transpose(1, 2).contiguous()
