"""Compare implementations of the selective scan for `mambatalk bench scan`: speed and accuracy.

The implementations are our scan, a loop over steps under autograd, a chunked scan (a matrix of
decays within each chunk, a loop over chunks) and PyTorch's `associative_scan`. All take u, delta,
A, B and C with the shapes of `recurrence.Recurrence` and return the outputs (batch, channels,
steps).
"""

import time
from collections.abc import Callable
from typing import Final, NamedTuple

import torch
from torch import Tensor

from mambatalk.console import Progress
from mambatalk.models.mamba.recurrence import Recurrence

Scan = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
CHUNK_STEPS: Final = 8


class Timing(NamedTuple):
    """Speed and accuracy of one implementation."""

    name: str
    forward: float
    """Seconds, the best of all repetitions."""
    backward: float
    """Seconds, the best of all repetitions."""
    error: float
    """Largest relative error of outputs and gradients against the loop in double precision."""


def our_scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """Run this project's scan."""
    return Recurrence.apply(u, delta, A, B, C, None)[0]


def loop_scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """Run one step after the other; autograd keeps every state."""
    state = u.new_zeros(*u.shape[:2], A.shape[1])
    outputs = []
    for t in range(u.shape[-1]):
        drive = (delta[..., t] * u[..., t])[..., None] * B[:, None, :, t]
        state = torch.exp(delta[..., t, None] * A) * state + drive
        outputs.append((state @ C[..., t, None]).squeeze(-1))
    return torch.stack(outputs, dim=-1)


def chunked_scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """Compute all pairs of steps within a chunk at the same time, and loop over chunks."""
    state = u.new_zeros(*u.shape[:2], A.shape[1])
    outputs = []
    for start in range(0, u.shape[-1], CHUNK_STEPS):
        part = slice(start, min(start + CHUNK_STEPS, u.shape[-1]))
        elapsed = delta[..., part].cumsum(-1)
        gap = elapsed[..., :, None] - elapsed[..., None, :]
        past = torch.ones_like(gap[0, 0]).tril()
        # Gaps to later steps are negative and would overflow, so they are set to 0 before the
        # exponential and masked after it.
        decay = torch.exp(gap.tril()[..., None] * A[:, None, None]) * past[..., None]
        drive = (delta[..., part] * u[..., part])[..., None] * B[:, None, :, part].transpose(-1, -2)
        carried = torch.exp(elapsed[..., None] * A[:, None]) * state[:, :, None]
        states = carried + torch.einsum("betsn,besn->betn", decay, drive)
        outputs.append(torch.einsum("betn,bnt->bet", states, C[..., part]))
        state = states[:, :, -1]
    return torch.cat(outputs, dim=-1)


def associative_scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """Run PyTorch's parallel scan over pairs of decay and drive; its fast mode needs CUDA."""
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


SCANS: Final[dict[str, Scan]] = {
    "ours": our_scan,
    "loop": loop_scan,
    "chunked": chunked_scan,
    "associative_scan": associative_scan,
}


def measure_scans(
    *,
    batch: int,
    channels: int,
    state: int,
    steps: int,
    repeat: int,
    progress: Progress | None = None,
) -> list[Timing]:
    """Time forward and backward passes of all implementations.

    Args:
        batch: Sequences.
        channels: Channels of a sequence.
        state: State size of a channel.
        steps: Length of a sequence.
        repeat: Repetitions; the best one counts.
        progress: Called before each implementation; the reference counts as finished then.

    Returns:
        One timing per implementation, on the same random input in single precision.

    """
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    inputs = [
        draw(batch, channels, steps) - 0.5,
        draw(batch, channels, steps) * 0.1,
        -16 * draw(channels, state),
        draw(batch, state, steps) - 0.5,
        draw(batch, state, steps) - 0.5,
    ]
    reference = _outputs_and_gradients(loop_scan, [x.double() for x in inputs])
    timings: list[Timing] = []
    for name, scan in SCANS.items():
        if progress is not None:
            progress(1 + len(timings), 1 + len(SCANS))
        timings.append(_time(name, scan, inputs, reference, repeat))
    return timings


def _outputs_and_gradients(scan: Scan, inputs: list[Tensor]) -> list[Tensor]:
    leaves = [x.clone().requires_grad_() for x in inputs]
    y = scan(*leaves)
    return [y.detach(), *torch.autograd.grad(y.sum(), leaves)]


def _time(
    name: str, scan: Scan, inputs: list[Tensor], reference: list[Tensor], repeat: int
) -> Timing:
    results = _outputs_and_gradients(scan, inputs)
    errors = [
        float((result.double() - expected).abs().max() / expected.abs().max())
        for result, expected in zip(results, reference, strict=True)
    ]
    leaves = [x.clone().requires_grad_() for x in inputs]
    forward = []
    backward = []
    for _ in range(repeat):
        start = time.perf_counter()
        y = scan(*leaves)
        middle = time.perf_counter()
        torch.autograd.grad(y.sum(), leaves)
        forward.append(middle - start)
        backward.append(time.perf_counter() - middle)
    return Timing(name, min(forward), min(backward), max(errors))
