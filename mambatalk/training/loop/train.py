"""The one training loop: batches in, loss terms out, Adam, validation after every epoch."""

import logging
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, NamedTuple, TypeVar

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn

from mambatalk.training.context import Curve, TrainContext
from mambatalk.training.loop.data import TrainingData
from mambatalk.training.loop.module import LossTerms, Step, TrainingModule, total
from mambatalk.training.loop.optim import OptimSettings
from mambatalk.training.loop.state import TrainState

log = logging.getLogger(__name__)

Network = TypeVar("Network", bound=nn.Module)


class Trained(NamedTuple, Generic[Network]):
    """A trained network, its final metrics and its curve."""

    network: Network
    metrics: dict[str, float]
    curve: Curve


def train(
    module: TrainingModule, data: TrainingData, optim: OptimSettings, context: TrainContext
) -> TrainState:
    """Train a module in place, or continue its interrupted training.

    The order of the windows and all random draws follow `data.seed` alone. With a scratch folder,
    the state is written there at the ends of epochs, at most every `context.save_seconds`, and
    after the last one. A later call with the same arguments continues from it and gives the same
    bits as an uninterrupted training. If that training had finished, no step is made.

    Args:
        module: Network and losses; on return in evaluation mode, with the last epoch's weights.
        data: Windows for training and validation.
        optim: Optimizer, schedule and number of epochs.
        context: Device, scratch folder and tracker.

    Returns:
        The final state. Its curve has the mean of every loss term on both splits by epoch, and what
        the module measures ("check/...").

    Raises:
        FloatingPointError: A training or validation loss is not finite. The optimizer takes no step
            with such a training loss.
        InputError: The scratch folder holds a damaged state or that of another training.

    """
    module.to(context.device)
    state = TrainState(module, data, optim, context)
    torch.manual_seed(data.seed)
    if context.scratch and state.resume(context.scratch):
        log.info("%s: continuing after %d of %d epochs", module.name, state.epoch, optim.epochs)

    saved = time.monotonic()
    with _progress(module.name, state.epoch, optim.epochs) as advance:
        while state.epoch < optim.epochs:
            row = _train_epoch(state, data, optim, context)
            row |= validate(module, data, _step(state, optim), context)
            _check_finite(module.name, row["val/loss"], f"validation of epoch {state.epoch}")
            measures = module.measure(data, context.device)
            row |= {f"check/{key}": value for key, value in measures.items()}
            state.finish_epoch(row)
            advance(row["train/loss"], row["val/loss"])

            due = time.monotonic() - saved >= context.save_seconds
            if context.scratch and (due or state.epoch == optim.epochs):
                state.save(context.scratch)
                saved = time.monotonic()
    # Needed after a training that had finished before: no validation has run in this call.
    module.eval()
    return state


def _train_epoch(
    state: TrainState, data: TrainingData, optim: OptimSettings, context: TrainContext
) -> dict[str, float]:
    """Make one optimizer step for every batch; return the means of the loss terms."""
    module = state.module
    module.train()
    means = _Means()
    for number, batch in enumerate(data.shuffled(state.order, context.device)):
        step = _step(state, optim, number)
        terms: LossTerms = module(batch, step)
        loss = total(terms.values())
        _check_finite(module.name, loss.item(), f"step {number} of epoch {step.epoch}")

        state.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        module.after_backward(step)
        if optim.clip_norm is not None:
            nn.utils.clip_grad_norm_(module.parameters(), optim.clip_norm)
        state.optimizer.step()
        means.add(terms, len(batch.motion))
    return means.row("train")


@torch.no_grad()
def validate(
    module: TrainingModule, data: TrainingData, step: Step, context: TrainContext
) -> dict[str, float]:
    """Return the mean loss terms over the validation windows.

    Random draws (masks, frames of the mesh terms) are the same at every call, and the training's
    random number generators are left as they were.

    Args:
        module: Network and losses.
        data: Windows of the validation split.
        step: Position in the schedule.
        context: Its device is used.

    Returns:
        Means over windows, by name with the prefix of the split.

    """
    module.eval()
    means = _Means()
    cuda = [context.device] if context.device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.manual_seed(data.seed)
        for batch in data.validation_batches(context.device):
            means.add(module(batch, step), len(batch.motion))
    return means.row("val")


def _step(state: TrainState, optim: OptimSettings, number: int = 0) -> Step:
    return Step(epoch=state.epoch, epochs=optim.epochs, number=number)


def _check_finite(name: str, loss: float, where: str) -> None:
    if not math.isfinite(loss):
        raise FloatingPointError(
            f"{name}: the loss is {loss} in {where}; lower the learning rate, "
            "or check the data-quality report"
        )


class _Means:
    """Means of loss terms, weighted by the number of windows."""

    def __init__(self) -> None:
        self._sums: LossTerms = {}
        self._count = 0

    def add(self, terms: LossTerms, count: int) -> None:
        for key, value in terms.items():
            self._sums[key] = self._sums.get(key, 0) + value.detach().double() * count
        self._count += count

    def row(self, split: str) -> dict[str, float]:
        means = {key: float(value) / self._count for key, value in self._sums.items()}
        terms = {f"{split}/{key}": value for key, value in means.items()}
        return {f"{split}/loss": sum(means.values()), **terms}


@contextmanager
def _progress(name: str, done: int, epochs: int) -> Iterator[Callable[[float, float], None]]:
    """Show progress: a bar on a terminal, about ten log lines elsewhere."""
    if sys.stderr.isatty():
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(name, total=epochs, completed=done)
            yield lambda train, val: bar.update(
                task, advance=1, description=f"{name}  {train:.4f} / {val:.4f}"
            )
        return

    def advance(train: float, val: float) -> None:
        nonlocal done
        done += 1
        if done % max(1, epochs // 10) == 0 or done == epochs:
            log.info(
                "%s: epoch %d of %d, loss %.4f, validation %.4f", name, done, epochs, train, val
            )

    yield advance
