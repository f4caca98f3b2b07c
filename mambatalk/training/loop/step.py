"""One training step, launched operation by operation or replayed as one CUDA graph.

A full-size step of the generator takes the CPU longer to launch than an H100 to compute. A CUDA
graph is launched at once: the whole step is recorded, the optimizer included, and replayed for
every batch. What Python computes from the epoch (the learning rate, the probability of a mask) is
constant in the graph, which is recorded anew where it changes.
"""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mambatalk.features.windows import WindowBatch
from mambatalk.training.loop.distributed import mean_terms, wrapped
from mambatalk.training.loop.module import LossTerms, Step, TrainingModule, total

SHARED_WARM_UP: Final = 11
"""Steps of several processes before the first recording: DistributedDataParallel times its first
ten, with events that cannot be recorded."""

CheckLoss = Callable[[int, float], None]
"""Called with the number of a step in its epoch, and its loss, which is NaN if the gradient is not
finite; raises if the loss is not finite."""


class StepResult(NamedTuple):
    """What a step reports."""

    terms: LossTerms
    """Loss terms, the means over all processes."""
    norm: Tensor
    """Norm of the gradient before it is clipped."""


class EagerSteps:
    """Steps that check their loss before the optimizer is called.

    Args:
        module: The module.
        optimizer: Its optimizer.
        clip_norm: Largest norm of the gradient. If None, it is not clipped.
        check: Called before the backward pass and before the optimizer.
        shared: Make the steps together with all joined processes.

    """

    def __init__(
        self,
        module: TrainingModule,
        optimizer: Optimizer,
        clip_norm: float | None,
        check: CheckLoss,
        *,
        shared: bool = True,
    ) -> None:
        self._run = wrapped(module) if shared else module
        self._module = module
        self._optimizer = optimizer
        self._clip_norm = clip_norm
        self._check = check

    def __call__(self, batch: WindowBatch, step: Step) -> StepResult:
        """Make a step."""
        terms: LossTerms = self._run(batch, step)
        loss = total(terms.values())
        terms = mean_terms(terms)
        self._check(step.number, total(terms.values()).item())
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._module.after_backward(step)
        norm = clip(self._module, self._clip_norm)
        self._check(step.number, checked(total(terms.values()), norm).item())
        self._optimizer.step()
        return StepResult(terms, norm)

    def finish(self) -> None:
        """Do nothing: every loss has been checked."""


class CapturedSteps:
    """Steps as a CUDA graph, for a module with `capturable` and Adam with `capturable` and `fused`.

    The CPU does not wait for a step: its loss is read while the next one runs. The GPU itself skips
    the update of a step whose loss or gradient is not finite. With several processes the graph
    holds the exchange of gradients, too.

    Args:
        module: The module, on a GPU.
        optimizer: Its optimizer.
        clip_norm: Largest norm of the gradient. If None, it is not clipped.
        check: Called one step later, or by `finish`.
        shared: Make the steps together with all joined processes.

    """

    def __init__(
        self,
        module: TrainingModule,
        optimizer: Optimizer,
        clip_norm: float | None,
        check: CheckLoss,
        *,
        shared: bool = True,
    ) -> None:
        self._stream = torch.cuda.Stream()
        with self._on_stream():
            self._run = wrapped(module) if shared else module
        self._module = module
        self._optimizer = optimizer
        self._clip_norm = clip_norm
        self._check = check
        self._graph: torch.cuda.CUDAGraph | None = None
        self._recorded: object = None
        self._batch: WindowBatch | None = None
        self._result: StepResult | None = None
        self._unread: deque[tuple[int, Tensor, torch.cuda.Event]] = deque()
        # The first step compiles kernels and allocates workspaces, which a recording may not do.
        self._warm_up = 1 if self._run is module else SHARED_WARM_UP

    def __call__(self, batch: WindowBatch, step: Step) -> StepResult:
        """Make a step."""
        if not self._warm_up:
            result = self._replay(batch, step)
        else:
            self._warm_up -= 1
            with self._on_stream():
                result = self._compute(batch, step)
        self._read_later(step.number, checked(total(result.terms.values()), result.norm))
        return result

    def finish(self) -> None:
        """Check the losses of all steps so far."""
        while self._unread:
            self._read()

    @contextmanager
    def _on_stream(self) -> Iterator[None]:
        """Run a block on the stream of the recordings: the default one cannot be recorded.

        DistributedDataParallel adds up gradients on the stream where it was made.
        """
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            yield
        torch.cuda.current_stream().wait_stream(self._stream)

    def _replay(self, batch: WindowBatch, step: Step) -> StepResult:
        rates = [group["lr"] for group in self._optimizer.param_groups]
        shapes = [None if tensor is None else tensor.shape for tensor in batch]
        constants = (self._module.phase(step), rates, shapes)
        if constants != self._recorded:
            self._record(batch, step)
            self._recorded = constants
        assert self._graph
        assert self._batch
        assert self._result
        for place, tensor in zip(self._batch, batch, strict=True):
            if place is not None and tensor is not None:
                place.copy_(tensor, non_blocking=True)
        self._graph.replay()
        # The next replay overwrites these tensors.
        terms = {name: term.clone() for name, term in self._result.terms.items()}
        return StepResult(terms, self._result.norm.clone())

    def _record(self, batch: WindowBatch, step: Step) -> None:
        # Free the memory of the previous graph, gradients included.
        self._graph = self._batch = self._result = None
        self._optimizer.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        static = WindowBatch._make(tensor if tensor is None else tensor.clone() for tensor in batch)
        # Other threads may call CUDA meanwhile, as the watchdog of NCCL does.
        with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
            result = self._compute(static, step)
        self._graph, self._batch, self._result = graph, static, result

    def _compute(self, batch: WindowBatch, step: Step) -> StepResult:
        terms: LossTerms = self._run(batch, step)
        loss = total(terms.values())
        terms = mean_terms({name: term.detach() for name, term in terms.items()})
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._module.after_backward(step)
        norm = clip(self._module, self._clip_norm)
        # Adam skips the update if `found_inf` is 1; `torch.amp.GradScaler` sets it likewise.
        bad = ~checked(total(terms.values()), norm).isfinite()
        self._optimizer.found_inf = bad.float()  # type: ignore[attr-defined]
        self._optimizer.step()
        return StepResult(terms, norm)

    def _read_later(self, number: int, loss: Tensor) -> None:
        host = torch.empty((), dtype=loss.dtype, pin_memory=True)
        host.copy_(loss, non_blocking=True)
        event = torch.cuda.Event()
        event.record()
        self._unread.append((number, host, event))
        if len(self._unread) > 1:
            self._read()

    def _read(self) -> None:
        number, loss, event = self._unread.popleft()
        event.synchronize()
        self._check(number, loss.item())


def make_steps(
    module: TrainingModule, optimizer: Optimizer, clip_norm: float | None, check: CheckLoss
) -> EagerSteps | CapturedSteps:
    """Return captured steps for a capturable module on a GPU, and eager ones elsewhere.

    Args:
        module: The module.
        optimizer: Its optimizer.
        clip_norm: Largest norm of the gradient. If None, it is not clipped.
        check: Called with the number and the loss of every step.

    """
    captured = module.capturable and next(module.parameters()).is_cuda
    return (CapturedSteps if captured else EagerSteps)(module, optimizer, clip_norm, check)


def checked(loss: Tensor, norm: Tensor) -> Tensor:
    """Return the loss, or NaN if the norm of its gradient is not finite.

    A finite loss can have a gradient that is not, and one such update spoils all weights.
    """
    return loss + 0 * norm


def clip(module: TrainingModule, limit: float | None) -> Tensor:
    """Clip the norm of all gradients together, if there is a limit; return the norm before."""
    if limit is not None:
        return nn.utils.clip_grad_norm_(module.parameters(), limit)
    gradients = [weight.grad for weight in module.parameters() if weight.grad is not None]
    return nn.utils.get_total_norm(gradients)
