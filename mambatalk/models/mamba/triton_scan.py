"""The selective scan as Triton kernels, for CUDA: made for short sequences of many channels.

Each program owns a block of channels of one sequence, keeps their states in registers and walks
through time, so that its time grows with the length, whereas the kernel of mamba-ssm scans long
sequences in parallel. Channels may be innermost in memory, as linear layers leave them: nothing is
copied. The backward pass computes the states again, into memory that is freed afterwards, and adds
across programs in a fixed order: the same inputs always give the same bits.

Source: Mamba, section 3.3. `TRITON_INTERPRET=1` runs the kernels on a CPU.
"""

import math
from typing import Any, Final

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK: Final = 64
"""Channels of a program."""
WARPS: Final = 1
LOG2_E: Final = tl.constexpr(math.log2(math.e))
"""Turns exponents of e into those of 2, which GPUs compute faster."""


@triton.jit
def _softplus(x):
    # Without the branch, exp overflows for large steps.
    return tl.where(x > 20.0, x, tl.log(1.0 + tl.exp(tl.minimum(x, 20.0))))


@triton.jit
def _forward_kernel(
    u, delta, A, B, C, D, z, bias, start, y, last,
    channels, steps,
    u_b, u_e, u_t, d_b, d_e, d_t, B_b, B_n, B_t, C_b, C_n, C_t, z_b, z_e, z_t,
    STATE: tl.constexpr, BLOCK: tl.constexpr, GATED: tl.constexpr, STARTED: tl.constexpr,
):  # fmt: skip
    batch = tl.program_id(0).to(tl.int64)
    e = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    n = tl.arange(0, STATE)
    real = e < channels
    square = real[:, None] & (n[None, :] < STATE)
    rate = tl.load(A + e[:, None] * STATE + n[None, :], mask=square, other=0.0) * LOG2_E
    skip = tl.load(D + e, mask=real, other=0.0)
    offset = tl.load(bias + e, mask=real, other=0.0)
    place = batch * channels * STATE + e[:, None] * STATE + n[None, :]
    h = tl.zeros([BLOCK, STATE], tl.float32)
    if STARTED:
        h = tl.load(start + place, mask=square, other=0.0)
    for t in range(steps):
        x = tl.load(u + batch * u_b + e * u_e + t * u_t, mask=real, other=0.0).to(tl.float32)
        raw = tl.load(delta + batch * d_b + e * d_e + t * d_t, mask=real, other=0.0).to(tl.float32)
        step = _softplus(raw + offset)
        weight = tl.load(B + batch * B_b + n * B_n + t * B_t).to(tl.float32)
        read = tl.load(C + batch * C_b + n * C_n + t * C_t).to(tl.float32)
        h = tl.exp2(step[:, None] * rate) * h + (step * x)[:, None] * weight[None, :]
        out = tl.sum(h * read[None, :], 1) + skip * x
        if GATED:
            g = tl.load(z + batch * z_b + e * z_e + t * z_t, mask=real, other=0.0).to(tl.float32)
            out = out * g * tl.sigmoid(g)
        tl.store(y + (batch * steps + t) * channels + e, out, mask=real)
    tl.store(last + place, h, mask=square)


@triton.jit
def _backward_kernel(
    u, delta, A, B, C, D, z, bias, start, grad_y,
    states, grad_u, grad_delta, grad_A, grad_B, grad_C, grad_D, grad_z, grad_bias, grad_start,
    channels, steps,
    u_b, u_e, u_t, d_b, d_e, d_t, B_b, B_n, B_t, C_b, C_n, C_t, z_b, z_e, z_t, y_b, y_e, y_t,
    STATE: tl.constexpr, BLOCK: tl.constexpr, GATED: tl.constexpr, STARTED: tl.constexpr,
):  # fmt: skip
    batch = tl.program_id(0).to(tl.int64)
    block = tl.program_id(1)
    blocks = tl.num_programs(1)
    e = block * BLOCK + tl.arange(0, BLOCK)
    n = tl.arange(0, STATE)
    real = e < channels
    square = real[:, None] & (n[None, :] < STATE)
    decay = tl.load(A + e[:, None] * STATE + n[None, :], mask=square, other=0.0)
    rate = decay * LOG2_E
    skip = tl.load(D + e, mask=real, other=0.0)
    offset = tl.load(bias + e, mask=real, other=0.0)
    place = batch * channels * STATE + e[:, None] * STATE + n[None, :]
    first = tl.zeros([BLOCK, STATE], tl.float32)
    if STARTED:
        first = tl.load(start + place, mask=square, other=0.0)

    # Compute the states again: the backward pass needs each one and the one before it.
    h = first
    for t in range(steps):
        x = tl.load(u + batch * u_b + e * u_e + t * u_t, mask=real, other=0.0).to(tl.float32)
        raw = tl.load(delta + batch * d_b + e * d_e + t * d_t, mask=real, other=0.0).to(tl.float32)
        step = _softplus(raw + offset)
        weight = tl.load(B + batch * B_b + n * B_n + t * B_t).to(tl.float32)
        h = tl.exp2(step[:, None] * rate) * h + (step * x)[:, None] * weight[None, :]
        at = (batch * steps + t) * channels * STATE + e[:, None] * STATE + n[None, :]
        tl.store(states + at, h, mask=square)
    tl.debug_barrier()

    after = tl.zeros([BLOCK, STATE], tl.float32)
    sum_A = tl.zeros([BLOCK, STATE], tl.float32)
    sum_D = tl.zeros([BLOCK], tl.float32)
    sum_bias = tl.zeros([BLOCK], tl.float32)
    for back in range(steps):
        t = steps - 1 - back
        x = tl.load(u + batch * u_b + e * u_e + t * u_t, mask=real, other=0.0).to(tl.float32)
        raw = tl.load(delta + batch * d_b + e * d_e + t * d_t, mask=real, other=0.0).to(tl.float32)
        step = _softplus(raw + offset)
        weight = tl.load(B + batch * B_b + n * B_n + t * B_t).to(tl.float32)
        read = tl.load(C + batch * C_b + n * C_n + t * C_t).to(tl.float32)
        at = (batch * steps + t) * channels * STATE + e[:, None] * STATE + n[None, :]
        before = first
        if t > 0:
            before = tl.load(states + at - channels * STATE, mask=square, other=0.0)
        dy = tl.load(grad_y + batch * y_b + e * y_e + t * y_t, mask=real, other=0.0).to(tl.float32)
        row = (batch * steps + t) * channels + e
        factor = tl.exp2(step[:, None] * rate)
        if GATED:
            g = tl.load(z + batch * z_b + e * z_e + t * z_t, mask=real, other=0.0).to(tl.float32)
            s = tl.sigmoid(g)
            out = tl.sum(h * read[None, :], 1) + skip * x
            tl.store(grad_z + row, dy * out * s * (1.0 + g * (1.0 - s)), mask=real)
            dy = dy * g * s

        part = ((batch * steps + t) * blocks + block) * STATE + n
        tl.store(grad_C + part, tl.sum(dy[:, None] * h, 0))
        dh = after + dy[:, None] * read[None, :]
        tl.store(grad_B + part, tl.sum(dh * (step * x)[:, None], 0))
        drive = tl.sum(dh * weight[None, :], 1)
        after = dh * factor
        exponent = after * before
        tl.store(grad_u + row, drive * step + dy * skip, mask=real)
        dstep = (drive * x + tl.sum(exponent * decay, 1)) * tl.sigmoid(raw + offset)
        tl.store(grad_delta + row, dstep, mask=real)
        sum_A += exponent * step[:, None]
        sum_D += dy * x
        sum_bias += dstep
        h = before

    tl.store(grad_A + place, sum_A, mask=square)
    tl.store(grad_start + place, after, mask=square)
    tl.store(grad_D + batch * channels + e, sum_D, mask=real)
    tl.store(grad_bias + batch * channels + e, sum_bias, mask=real)


@torch.library.custom_op("mambatalk::selective_scan", mutates_args=())
def triton_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    z: Tensor | None,
    delta_bias: Tensor,
    state: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Run the selective scan; see `selective_scan` for the arguments and their shapes.

    The size N of the state must be a power of 2. The output has the channels innermost in memory.
    No gradient passes through the last state.
    """
    batch, channels, steps = u.shape
    y = u.new_empty(batch, steps, channels)
    last = A.new_empty(batch, *A.shape)
    gate = u if z is None else z
    grid = (batch, triton.cdiv(channels, BLOCK))
    _forward_kernel[grid](
        u, delta, A, B, C, D, gate, delta_bias, last if state is None else state, y, last,
        channels, steps,
        *u.stride(), *delta.stride(), *B.stride(), *C.stride(), *gate.stride(),
        STATE=A.shape[1], BLOCK=BLOCK, GATED=z is not None, STARTED=state is not None,
        num_warps=WARPS,
    )  # fmt: skip
    return y.transpose(1, 2), last


@triton_scan.register_fake
def _(u: Tensor, delta: Tensor, A: Tensor, *rest: Tensor | None) -> tuple[Tensor, Tensor]:
    batch, channels, steps = u.shape
    return u.new_empty(batch, steps, channels).transpose(1, 2), A.new_empty(batch, *A.shape)


@torch.library.custom_op("mambatalk::selective_scan_backward", mutates_args=())
def _backward(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    z: Tensor | None,
    delta_bias: Tensor,
    state: Tensor | None,
    grad_y: Tensor,
) -> list[Tensor]:
    batch, channels, steps = u.shape
    size = A.shape[1]
    grid = (batch, triton.cdiv(channels, BLOCK))
    gate = u if z is None else z
    grad_u, grad_delta, grad_z = (
        x.new_empty(batch, steps, channels).transpose(1, 2) for x in (u, delta, gate)
    )
    # One summand of each program; they are added below, in a fixed order.
    grad_B, grad_C = (A.new_empty(batch, steps, grid[1], size) for _ in range(2))
    grad_A, grad_state = (A.new_empty(batch, channels, size) for _ in range(2))
    grad_D, grad_bias = (A.new_empty(batch, channels) for _ in range(2))
    states = A.new_empty(batch, steps, channels, size)
    _backward_kernel[grid](
        u, delta, A, B, C, D, gate, delta_bias, states if state is None else state, grad_y,
        states, grad_u, grad_delta, grad_A, grad_B, grad_C, grad_D, grad_z, grad_bias, grad_state,
        channels, steps,
        *u.stride(), *delta.stride(), *B.stride(), *C.stride(), *gate.stride(), *grad_y.stride(),
        STATE=size, BLOCK=BLOCK, GATED=z is not None, STARTED=state is not None,
        num_warps=WARPS,
    )  # fmt: skip
    return [
        grad_u,
        grad_delta,
        grad_A.sum(0),
        grad_B.sum(2).to(B.dtype).transpose(1, 2),
        grad_C.sum(2).to(C.dtype).transpose(1, 2),
        grad_D.sum(0),
        grad_z,
        grad_bias.sum(0),
        grad_state,
    ]


@_backward.register_fake
def _(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    z: Tensor | None,
    delta_bias: Tensor,
    state: Tensor | None,
    grad_y: Tensor,
) -> list[Tensor]:
    def like(x: Tensor) -> Tensor:
        return x.new_empty(x.shape[0], x.shape[2], x.shape[1]).transpose(1, 2)

    gate = u if z is None else z
    grad_state = A.new_empty(len(u), *A.shape)
    wide = [like(u), like(delta), A.new_empty(A.shape), like(B), like(C)]
    return [*wide, D.new_empty(D.shape), like(gate), D.new_empty(D.shape), grad_state]


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs)
    ctx.mark_non_differentiable(output[1])


def _gradients(context: Any, grad_y: Tensor, grad_last: Tensor) -> tuple[Tensor | None, ...]:
    saved = context.saved_tensors
    gradients = _backward(*saved, grad_y)
    return tuple(
        None if tensor is None else gradient
        for tensor, gradient in zip(saved, gradients, strict=True)
    )


triton_scan.register_autograd(_gradients, setup_context=_setup)
