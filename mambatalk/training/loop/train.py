"""The one training loop: batches in, loss terms out, Adam, validation after every epoch."""

import logging
import math
import re
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Final, Generic, NamedTuple, TypeVar

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn

from mambatalk.runtime import rank
from mambatalk.training.context import Curve, TrainContext
from mambatalk.training.loop.checkpoints import Checkpoints, load
from mambatalk.training.loop.data import TrainingData
from mambatalk.training.loop.distributed import (
    any_process,
    copy_from_first,
    gather_objects,
    is_first,
    joined_processes,
    processes,
)
from mambatalk.training.loop.module import Means, Step, TrainingModule
from mambatalk.training.loop.optim import OptimSettings
from mambatalk.training.loop.signals import HeldSignals
from mambatalk.training.loop.state import TrainState, rng_state, selection_loss
from mambatalk.training.loop.step import CapturedSteps, EagerSteps, make_steps

log = logging.getLogger(__name__)

NAMED_CLIPS: Final = 8
"""Clips of a batch that a message names."""

DIVERGED: Final = 1e4
"""A loss above this multiple of the first step's ends the training. With a far too large learning
rate the loss may stay at 1e26 and never become infinite."""
_MEMORY: Final = re.compile(r"Tried to allocate ([\d.]+) (.iB).* of which ([\d.]+) (.iB) is free")

Network = TypeVar("Network", bound=nn.Module)


class Trained(NamedTuple, Generic[Network]):
    """A trained network, its metrics and its curve."""

    network: Network
    metrics: dict[str, float]
    """Validation losses and measures of the epoch whose weights the network has."""
    curve: Curve

    @classmethod
    def of(cls, network: Network, state: TrainState) -> "Trained[Network]":
        """Return the result of a finished training.

        Args:
            network: The network of the trained module.
            state: What `train` returned.

        """
        epoch = state.selected_epoch
        metrics = state.curve.at(epoch, "val") | state.curve.at(epoch, "check")
        return cls(network, {**metrics, "selected_epoch": epoch}, state.curve)


def train(
    module: TrainingModule, data: TrainingData, optim: OptimSettings, context: TrainContext
) -> TrainState:
    """Train a module in place, or continue its interrupted training.

    The order of the windows and all random draws follow `data.seed` alone. With a scratch folder,
    the state is written there between two steps, every `context.save_seconds`, while the training
    goes on, and after the last epoch. A later call with the same arguments continues from it and
    gives the same bits as an uninterrupted training. If that training had finished, no step is
    made.

    SIGTERM and SIGINT take effect after the step or the validation that they interrupt, when the
    state has been written; the handlers of the caller run then.

    Args:
        module: Network and losses; on return in evaluation mode, with the weights of the epoch that
            `optim.select` names.
        data: Windows for training and validation.
        optim: Optimizer, schedule and number of epochs.
        context: Device, scratch folder and tracker.

    Returns:
        The final state. Its curve has the mean of every loss term on both splits by epoch, and what
        the module measures ("check/...").

    Raises:
        FloatingPointError: A training or validation loss or a gradient is not finite, or a
            training loss is `DIVERGED` times that of the first step. The optimizer takes no step
            with such a loss or gradient.
        InputError: The scratch folder holds the state of another training, cannot be written to, or
            is on a full disk.
        MemoryError: The GPU has too little memory.

    """
    with joined_processes():
        try:
            return _train(module, data, optim, context if is_first() else _silent(context))
        except torch.OutOfMemoryError as error:
            raise MemoryError(
                f"{module.name}: the GPU has too little memory{_missing_memory(str(error))}; lower "
                f"batch_size ({data.batch_size}) or use a larger GPU"
            ) from error


def _missing_memory(message: str) -> str:
    """Return what a message of PyTorch says about the memory that a GPU lacks."""
    # What was asked for, and what the GPU has; advice on the allocator follows.
    facts = ". ".join(message.split(". ")[1:3])
    found = _MEMORY.search(message)
    if not found:
        return f" ({facts})"
    wanted = _mebibytes(found[1], found[2])
    free = _mebibytes(found[3], found[4])
    # Enough memory may be free in total, but in pieces that are too small.
    missing = f", at least {wanted - free:.0f} MiB are missing" if wanted > free else ""
    return f"{missing} ({facts})"


def _mebibytes(number: str, unit: str) -> float:
    """Convert a number of KiB, MiB or GiB to MiB."""
    return float(number) * 1024 ** ("KMG".index(unit[0]) - 1)


def _silent(context: TrainContext) -> TrainContext:
    """Return the context of a process that neither writes nor records."""
    return TrainContext(device=context.device)


def _train(
    module: TrainingModule, data: TrainingData, optim: OptimSettings, context: TrainContext
) -> TrainState:
    module.to(context.device)
    if is_first() and len(data.train) < data.batch_size:
        log.warning(
            "%s: batch_size is %d, but there are only %d training windows; every step uses all",
            module.name,
            data.batch_size,
            len(data.train),
        )
    state = TrainState(module, data, optim, context)
    # Processes draw different dropout and masks for their parts of a batch.
    torch.manual_seed(data.seed + rank())
    with (
        HeldSignals() as signals,
        Checkpoints(context.scratch, seconds=context.save_seconds) as checkpoints,
    ):
        _resume(state, optim, checkpoints)
        steps = make_steps(
            module,
            state.optimizer,
            optim.clip_norm,
            partial(_check_training_loss, state, data),
        )
        between_steps = partial(_save, state, steps, checkpoints, signals)
        with _progress(module.name, state.epoch, optim.epochs) as advance:
            while not state.is_finished(optim):
                speed = _train_epoch(steps, state, data, optim, context, between_steps)
                module.after_epoch(data, context.device)
                # Each process computes buffers, such as the statistics of batch norms, from its
                # part of the batch.
                copy_from_first(*module.buffers())
                row = _row("train", state.means)
                row |= validate(module, data, _step(state, optim), context)
                if not math.isfinite(row["val/loss"]):
                    where = f"validation of epoch {state.epoch + 1}"
                    raise _bad_loss(module.name, row["val/loss"], where)
                measures = module.measure(data, context.device)
                row |= {f"check/{key}": value for key, value in measures.items()}
                # On GPUs the processes may differ in the last bits, and so in the best epoch.
                row = gather_objects(row)[0]
                health = _health(state, speed, context.device)
                context.tracker.metrics(health, step=state.epoch + 1)
                state.finish_epoch(row)
                advance(row["train/loss"], row["val/loss"])
                between_steps()
        _write(state, checkpoints)
    state.select(optim)
    _report_selection(state, optim)
    # Needed after a training that had finished before: no validation has run in this call.
    module.eval()
    return state


def _report_selection(state: TrainState, optim: OptimSettings) -> None:
    """Log which epoch's weights the training keeps, and why it ended early if it did."""
    if not is_first():
        return
    assert state.best is not None
    loss = selection_loss(state.module, state.curve.rows[state.selected_epoch - 1])
    reason = (
        "the lowest"
        if state.selected_epoch == state.best.epoch + 1
        else (f"the lowest is {state.best.loss:.6g} of epoch {state.best.epoch + 1}")
    )
    early = f", ended after {optim.patience} epochs without a lower one"
    log.info(
        "%s: keeping the weights of epoch %d of %d, validation loss %.6g, %s%s",
        state.module.name,
        state.selected_epoch,
        state.epoch,
        loss,
        reason,
        early if state.epoch < optim.epochs else "",
    )


def _resume(state: TrainState, optim: OptimSettings, checkpoints: Checkpoints) -> None:
    found = checkpoints.newest()
    path = gather_objects(found and found[0])[0]
    if path is None:
        return
    content = found[1] if found else load(path)
    state.restore(content, path)
    if is_first():
        log.info(
            "%s: continuing after %d of %d epochs%s",
            state.module.name,
            state.epoch,
            optim.epochs,
            f" and {state.number} steps" if state.number else "",
        )


def _save(
    state: TrainState,
    steps: EagerSteps | CapturedSteps,
    checkpoints: Checkpoints,
    signals: HeldSignals,
) -> None:
    """Write a checkpoint if one is due; at a stop signal always, and end the training then."""
    due, stop = any_process(checkpoints.due(), signals.received is not None)
    if due or stop:
        steps.finish()
        _write(state, checkpoints)
    if stop:
        checkpoints.wait()
        # The signal of one process stops all of them.
        signals.deliver(default=signal.SIGTERM)


def _write(state: TrainState, checkpoints: Checkpoints) -> None:
    random_states = gather_objects(rng_state())
    checkpoints.save(state.position, partial(state.snapshot, random_states))


def _train_epoch(
    steps: EagerSteps | CapturedSteps,
    state: TrainState,
    data: TrainingData,
    optim: OptimSettings,
    context: TrainContext,
    between_steps: Callable[[], None],
) -> float:
    """Make one optimizer step for every batch of the epoch that is left; return windows a second.

    The speed is 0 if no step was left.
    """
    state.module.train()
    windows = 0
    start = time.perf_counter()
    for batch in data.training_batches(
        state.epoch, context.device, first=state.number, part=rank(), parts=processes()
    ):
        result = steps(batch, _step(state, optim, state.number))
        count = len(batch.motion) * processes()
        state.means.add(result.terms, count)
        state.gradients.add({"norm": result.norm}, 1)
        state.number += 1
        windows += count
        between_steps()
    steps.finish()
    return windows / (time.perf_counter() - start)


def _health(state: TrainState, speed: float, device: torch.device) -> dict[str, float]:
    """Return what the tracker gets beside the curve: it differs between machines and runs.

    Args:
        state: State at the end of an epoch.
        speed: Windows a second in the steps of the epoch.
        device: Device of the training.

    """
    health = {
        "gradient_norm": state.gradients.values()["norm"],
        "learning_rate": state.optimizer.param_groups[0]["lr"],
        "windows_per_second": speed,
        # Linux counts it in KiB.
        "memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10,
    }
    if device.type == "cuda":
        health["gpu_memory_mib"] = torch.cuda.max_memory_allocated(device) / 2**20
        # `utilization` needs NVIDIA's library for Python.
        with suppress(ModuleNotFoundError):
            health["gpu_utilization_percent"] = torch.cuda.utilization(device)
    return {f"health/{key}": value for key, value in health.items()}


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
    means = Means()
    cuda = [context.device] if context.device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.manual_seed(data.seed)
        for batch in data.validation_batches(context.device):
            means.add(module(batch, step), len(batch.motion))
    return _row("val", means)


def _step(state: TrainState, optim: OptimSettings, number: int = 0) -> Step:
    return Step(epoch=state.epoch, epochs=optim.epochs, number=number)


def _check_training_loss(state: TrainState, data: TrainingData, number: int, loss: float) -> None:
    if state.first_loss is None:
        state.first_loss = loss
    diverged = 0 < DIVERGED * state.first_loss < loss
    if math.isfinite(loss) and not diverged:
        return
    clips = data.clip_ids(state.epoch, number)
    named = ", ".join(clips[:NAMED_CLIPS])
    more = f" and {len(clips) - NAMED_CLIPS} more" if len(clips) > NAMED_CLIPS else ""
    where = f"step {number + 1} of epoch {state.epoch + 1} (clips {named}{more})"
    if math.isfinite(loss):
        where += f", after {state.first_loss:.3g} in the first step"
    raise _bad_loss(state.module.name, loss, where)


def _bad_loss(name: str, loss: float, where: str) -> FloatingPointError:
    gradient = " or its gradient" if math.isnan(loss) else ""
    return FloatingPointError(
        f"{name}: the loss{gradient} is {loss:.3g} in {where}; lower the learning rate, "
        "or check the data-quality report"
    )


def _row(split: str, means: Means) -> dict[str, float]:
    """Return the means of a split's loss terms, and their sum as the loss."""
    values = means.values()
    terms = {f"{split}/{key}": value for key, value in values.items()}
    return {f"{split}/loss": sum(values.values()), **terms}


@contextmanager
def _progress(name: str, done: int, epochs: int) -> Iterator[Callable[[float, float], None]]:
    """Show progress: a bar on a terminal, about ten log lines elsewhere."""
    if not is_first():
        yield lambda train, val: None
        return
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
