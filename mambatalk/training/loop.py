"""The one training loop: windows in, loss terms out, Adam between, validation after every epoch."""

import logging
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from mambatalk.errors import InputError
from mambatalk.features.store import FeatureStore
from mambatalk.features.windows import WindowBatch, batches, windows
from mambatalk.fidelity import FidelityRules
from mambatalk.training.losses import total
from mambatalk.training.tracker import Curve

log = logging.getLogger(__name__)

Network = TypeVar("Network", bound=nn.Module)
Terms = Callable[[WindowBatch, int], dict[str, Tensor]]
"""Weighted loss terms of a batch in an epoch; their sum is minimised."""


@dataclass(frozen=True, kw_only=True)
class Windows:
    """What a network learns from and is watched on."""

    store: FeatureStore
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    length: int
    audio: bool

    @classmethod
    def of(
        cls, store: FeatureStore, *, length: int, stride: int, audio: bool, rules: FidelityRules
    ) -> "Windows":
        """Windows `stride` frames apart to learn from, and side by side to be watched on."""
        train, validation = (
            windows(store, split, length=length, stride=step, audio=audio, rules=rules)
            for split, step in (("train", stride), ("val", length))
        )
        return cls(store=store, train=train, validation=validation, length=length, audio=audio)

    def spread(self, device: torch.device, *, most: int = 1024) -> Iterator[WindowBatch]:
        """Some training windows from all over the corpus, without their sound: enough for its mean
        and scale.
        """
        rows = self.train[:: max(1, len(self.train) // most)]
        return batches(self.store, rows, self.length, batch_size=64, audio=False, device=device)

    def __post_init__(self) -> None:
        for split, rows in (("train", self.train), ("val", self.validation)):
            if not len(rows):
                raise InputError(
                    f"split {split}",
                    f"expected a clip of {self.length} frames, found no window",
                    "add longer clips, or shorten the window",
                )


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Adam and how long it runs."""

    epochs: int
    batch_size: int
    lr: float
    betas: tuple[float, float]
    seed: int
    decay_epoch: int | None = None
    """Epoch from which the learning rate is a tenth."""
    clip_norm: float | None = None


class Trained(NamedTuple, Generic[Network]):
    """A trained network, its final numbers and its curve."""

    network: Network
    metrics: dict[str, float]
    curve: Curve


def fit(
    name: str, network: nn.Module, terms: Terms, data: Windows, schedule: Schedule, curve: Curve
) -> None:
    """Train a network in place; the curve gets the mean of every term on both splits, epoch by
    epoch.

    The order of windows and all random draws follow `schedule.seed` alone.

    Raises:
        FloatingPointError: A loss, of training or validation, is not finite; no step was taken on
            it.

    """
    device = next(network.parameters()).device
    optimizer = torch.optim.Adam(
        network.parameters(), lr=schedule.lr, betas=schedule.betas, eps=1e-8, fused=True
    )
    order = np.random.default_rng(schedule.seed)
    torch.manual_seed(schedule.seed)
    with _progress(name, schedule.epochs) as advance:
        for epoch in range(schedule.epochs):
            if epoch == schedule.decay_epoch:
                optimizer.param_groups[0]["lr"] *= 0.1
            network.train()
            means = _Means()
            for batch in _shuffled(data, schedule.batch_size, order, device):
                values = terms(batch, epoch)
                _step(name, network, optimizer, values, epoch, schedule.clip_norm)
                means.add(values, len(batch.motion))
            row = {**means.row("train"), **validate(network, terms, data, schedule, epoch)}
            _check_finite(name, row["val/loss"], epoch)
            curve.add(epoch, row)
            advance(row["train/loss"], row["val/loss"])
    network.eval()


@torch.no_grad()
def validate(
    network: nn.Module, terms: Terms, data: Windows, schedule: Schedule, epoch: int
) -> dict[str, float]:
    """Mean terms over the validation windows, with the same random draws every epoch."""
    device = next(network.parameters()).device
    network.eval()
    means = _Means()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(schedule.seed)
        for batch in batches(
            data.store,
            data.validation,
            data.length,
            batch_size=schedule.batch_size,
            audio=data.audio,
            device=device,
        ):
            means.add(terms(batch, epoch), len(batch.motion))
    return means.row("val")


def _shuffled(
    data: Windows, batch_size: int, order: np.random.Generator, device: torch.device
) -> Iterator[WindowBatch]:
    """One epoch of shuffled batches; an incomplete last one is dropped, unless it is the only
    one.
    """
    rows = data.train[order.permutation(len(data.train))]
    whole = len(rows) // batch_size * batch_size or len(rows)
    return batches(
        data.store,
        rows[:whole],
        data.length,
        batch_size=batch_size,
        audio=data.audio,
        device=device,
    )


def _check_finite(name: str, loss: float, epoch: int) -> None:
    if not math.isfinite(loss):
        raise FloatingPointError(
            f"{name}: the loss is {loss} in epoch {epoch}; lower the learning rate, "
            "or look at the data-quality report"
        )


def _step(
    name: str,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    values: dict[str, Tensor],
    epoch: int,
    clip_norm: float | None,
) -> None:
    loss = total(values.values())
    _check_finite(name, loss.item(), epoch)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    if clip_norm is not None:
        nn.utils.clip_grad_norm_(network.parameters(), clip_norm)
    optimizer.step()


class _Means:
    """Means of terms, weighted by windows."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._count = 0

    def add(self, values: dict[str, Tensor], count: int) -> None:
        for key, value in values.items():
            self._sums[key] = self._sums.get(key, 0) + value.detach().double() * count
        self._count += count

    def row(self, split: str) -> dict[str, float]:
        means = {key: float(value) / self._count for key, value in self._sums.items()}
        return {
            f"{split}/loss": sum(means.values()),
            **{f"{split}/{key}": value for key, value in means.items()},
        }


@contextmanager
def _progress(name: str, epochs: int) -> Iterator[Callable[[float, float], None]]:
    """A bar on a terminal, about ten log lines elsewhere."""
    if sys.stderr.isatty():
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(name, total=epochs)
            yield lambda train, val: bar.update(
                task, advance=1, description=f"{name}  {train:.4f} / {val:.4f}"
            )
        return
    done = 0

    def advance(train: float, val: float) -> None:
        nonlocal done
        done += 1
        if done % max(1, epochs // 10) == 0 or done == epochs:
            log.info(
                "%s: epoch %d of %d, loss %.4f, validation %.4f", name, done, epochs, train, val
            )

    yield advance
