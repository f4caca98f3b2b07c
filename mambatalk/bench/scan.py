"""`mambatalk bench scan`: our scan against the other ways to write it on this machine, in speed and
exactness.

The rivals: a plain loop under autograd, a chunked scan (a matrix of decays within a chunk, a loop
over chunks) and PyTorch's `associative_scan`. All take (u, delta, A, B, C) in the shapes of
`recurrence.Recurrence` and give outputs.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from mambatalk.models.mamba.recurrence import Recurrence

Scan = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
CHUNK = 8


class Timing(NamedTuple):
    """One way at one size."""

    name: str
    forward: float
    """Seconds, best of the repetitions."""
    backward: float
    error: float
    """Largest relative error of the outputs and all gradients against the plain loop in double
    precision.
    """


def ours(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """The scan of this package."""
    return Recurrence.apply(u, delta, A, B, C, None)[0]


def plain_loop(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """One step after the other; autograd keeps every state."""
    state, outputs = u.new_zeros(*u.shape[:2], A.shape[1]), []
    for t in range(u.shape[-1]):
        drive = (delta[..., t] * u[..., t])[..., None] * B[:, None, :, t]
        state = torch.exp(delta[..., t, None] * A) * state + drive
        outputs.append((state @ C[..., t, None]).squeeze(-1))
    return torch.stack(outputs, dim=-1)


def chunked(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """Within a chunk, every pair of steps at once; from chunk to chunk, a loop over states."""
    state, outputs = u.new_zeros(*u.shape[:2], A.shape[1]), []
    for start in range(0, u.shape[-1], CHUNK):
        part = slice(start, min(start + CHUNK, u.shape[-1]))
        since = delta[..., part].cumsum(-1)
        gap = since[..., :, None] - since[..., None, :]
        past = torch.ones_like(gap[0, 0]).tril()
        # Future gaps are negative and would overflow; they are set to 0 before the exponential and
        # masked after it.
        decay = torch.exp(gap.tril()[..., None] * A[:, None, None]) * past[..., None]
        drive = (delta[..., part] * u[..., part])[..., None] * B[:, None, :, part].transpose(-1, -2)
        carried = torch.exp(since[..., None] * A[:, None]) * state[:, :, None]
        states = carried + torch.einsum("betsn,besn->betn", decay, drive)
        outputs.append(torch.einsum("betn,bnt->bet", states, C[..., part]))
        state = states[:, :, -1]
    return torch.cat(outputs, dim=-1)


def associative(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """PyTorch's parallel scan over (decay, drive) pairs; its fast mode is for CUDA alone."""
    from torch._higher_order_ops.associative_scan import associative_scan

    decay = torch.exp(delta[..., None] * A[:, None])
    drive = (delta * u)[..., None] * B[:, None].transpose(-1, -2)
    _, states = associative_scan(
        lambda a, b: (a[0] * b[0], b[0] * a[1] + b[1]),
        (decay, drive),
        dim=2,
        combine_mode="generic",
    )
    return torch.einsum("betn,bnt->bet", states, C)


WAYS: dict[str, Scan] = {
    "ours": ours,
    "plain loop": plain_loop,
    "chunked": chunked,
    "associative_scan": associative,
}


def measure_scans(
    *, batch: int, channels: int, state: int, steps: int, repeat: int
) -> list[Timing]:
    """Time forward and backward of every way on the same random input, single precision."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(batch, channels, steps)] * 2 + [(channels, state)] + [(batch, state, steps)] * 2
    u, delta, A, B, C = (torch.rand(*shape, generator=generator) for shape in shapes)
    inputs = [u - 0.5, delta * 0.1, -16 * A, B - 0.5, C - 0.5]
    reference = _values(plain_loop, [x.double() for x in inputs])
    return [_time(name, scan, inputs, reference, repeat) for name, scan in WAYS.items()]


def _values(scan: Scan, inputs: list[Tensor]) -> list[Tensor]:
    leaves = [x.clone().requires_grad_() for x in inputs]
    y = scan(*leaves)
    return [y.detach(), *torch.autograd.grad(y.sum(), leaves)]


def _time(
    name: str, scan: Scan, inputs: list[Tensor], reference: list[Tensor], repeat: int
) -> Timing:
    error = max(
        float((ours.double() - theirs).abs().max() / theirs.abs().max())
        for ours, theirs in zip(_values(scan, inputs), reference, strict=True)
    )
    leaves, forward, backward = [x.clone().requires_grad_() for x in inputs], [], []
    for _ in range(repeat):
        start = time.perf_counter()
        y = scan(*leaves)
        middle = time.perf_counter()
        torch.autograd.grad(y.sum(), leaves)
        forward.append(middle - start)
        backward.append(time.perf_counter() - middle)
    return Timing(name, min(forward), min(backward), error)
