"""The complete state of a training.

A training that is interrupted and resumed from its state gives the same bits as one that was not:
the state holds everything that the rest of the training depends on, including the random number
generators of Python, NumPy, PyTorch and CUDA. The order of the windows has no state, because it is
a function of the seed, the epoch and the step.
"""

import random
import warnings
from collections.abc import Mapping
from copy import copy
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from mambatalk.errors import InputError
from mambatalk.runtime import rank
from mambatalk.training.context import Curve, TrainContext
from mambatalk.training.loop.checkpoints import Content, Position
from mambatalk.training.loop.data import TrainingData
from mambatalk.training.loop.distributed import processes
from mambatalk.training.loop.module import Means, TrainingModule
from mambatalk.training.loop.optim import OptimSettings, build_optimizer, build_schedule


@dataclass(frozen=True)
class Best:
    """The module at the epoch with the lowest validation loss so far."""

    epoch: int
    """From 0."""
    loss: float
    """Sum of the terms in `TrainingModule.selected_by` on the validation split."""
    weights: dict[str, Tensor]
    """State dict of the module, on the CPU."""


class TrainState:
    """Everything that changes during a training.

    Args:
        module: The module to train, on its device.
        data: Windows; their order follows from `data.seed` and the position.
        optim: Optimizer and schedule.
        context: Its tracker receives the curve.

    Attributes:
        epoch: Number of finished epochs.
        number: Number of steps made in the next epoch.
        means: Means of the loss terms over these steps.
        gradients: Mean norm of the gradient over these steps.
        best: None before the first epoch has finished.
        first_loss: Training loss of the first step; None before it.
        selected_epoch: The epoch, counted from 1, whose weights the module has in the end.

    """

    def __init__(
        self,
        module: TrainingModule,
        data: TrainingData,
        optim: OptimSettings,
        context: TrainContext,
    ) -> None:
        self.module = module
        self.optimizer: Optimizer = build_optimizer(module, optim)
        self.schedule: LRScheduler = build_schedule(self.optimizer, optim)
        self.epoch = 0
        self.number = 0
        self.means = Means()
        self.gradients = Means()
        self.curve = Curve(context.tracker)
        self.best: Best | None = None
        self.selected_epoch = 0
        self.first_loss: float | None = None
        self._identity = {
            "name": module.name,
            "optim": asdict(optim),
            "processes": processes(),
            "data": {
                "train": len(data.train),
                "validation": len(data.validation),
                "length": data.length,
                "batch_size": data.batch_size,
                "seed": data.seed,
            },
        }

    @property
    def position(self) -> Position:
        """Where the training is."""
        return Position(self.epoch, self.number)

    def finish_epoch(self, row: dict[str, float]) -> None:
        """Add an epoch's metrics to the curve, keep the weights if best, advance the schedule."""
        loss = selection_loss(self.module, row)
        if self.best is None or loss < self.best.loss:
            self.best = Best(self.epoch, loss, _copied(self.module.state_dict()))
        # Curves, messages and the report count epochs from 1.
        self.curve.add(self.epoch + 1, row)
        with warnings.catch_warnings():
            # PyTorch counts the steps of this process, and warns after a resume at an epoch's end.
            warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")
            self.schedule.step()
        self.epoch += 1
        self.selected_epoch = self.epoch
        self.number = 0
        self.means = Means()
        self.gradients = Means()

    def is_finished(self, optim: OptimSettings) -> bool:
        """Return whether all epochs are done, or the patience is at its end."""
        if self.epoch == optim.epochs:
            return True
        if self.best is None or not optim.patience:
            return False
        return self.epoch - 1 - self.best.epoch >= optim.patience

    def select(self, optim: OptimSettings) -> None:
        """Load the weights of the epoch that is the result of the finished training."""
        assert self.best is not None
        if optim.select == "best":
            self.module.load_state_dict(self.best.weights)
            self.selected_epoch = self.best.epoch + 1

    def snapshot(self, random_states: list[Any]) -> Content:
        """Return a copy of the state on the CPU, which the training does not change any more.

        Args:
            random_states: `rng_state()` of each process.

        """
        content = {
            "identity": self._identity,
            "epoch": self.epoch,
            "number": self.number,
            "first_loss": self.first_loss,
            "means": vars(self.means),
            "gradients": vars(self.gradients),
            "module": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "random": random_states,
            "curve": self.curve.rows,
        }
        # The best weights are replaced as a whole and never changed, so they need no copy.
        best = None if self.best is None else {**vars(self.best)}
        return {**_copied(content), "best": best}

    def restore(self, content: Content, where: object) -> None:
        """Continue from a snapshot.

        The tracker receives the epochs so far.

        Args:
            content: The snapshot.
            where: Location of the snapshot in messages.

        Raises:
            InputError: It is the state of another training.

        """
        found = content.get("identity")
        if found != self._identity:
            raise InputError(
                where,
                f"expected the state of {self._identity}, found that of {found}",
                "delete it, or use another scratch folder",
            )
        try:
            self._restore(content)
        except (KeyError, RuntimeError, ValueError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise InputError(
                where,
                f"expected the state of this network, found another one ({reason})",
                "delete it, or use another scratch folder",
            ) from None

    def _restore(self, content: Content) -> None:
        self.module.load_state_dict(content["module"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.schedule.load_state_dict(content["schedule"])
        self.epoch = self.selected_epoch = content["epoch"]
        self.number = content["number"]
        self.first_loss = content["first_loss"]
        self.means = Means(**content["means"])
        self.gradients = Means(**content["gradients"])
        self.best = content["best"] and Best(**content["best"])
        self.curve.restore(content["curve"])
        set_rng_state(content["random"][rank()])


def selection_loss(module: TrainingModule, row: Mapping[str, float]) -> float:
    """Return the validation loss in a row of the curve that selects the best epoch."""
    if not module.selected_by:
        return row["val/loss"]
    return sum(row[f"val/{term}"] for term in module.selected_by)


def _copied(value: Any) -> Any:
    """Return a copy of nested dictionaries, lists and tuples with all tensors on the CPU."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        # Of the same class: a schedule's milestones are a `Counter`.
        result = copy(value)
        for key, item in value.items():
            result[key] = _copied(item)
        return result
    if isinstance(value, list | tuple):
        return type(value)(_copied(item) for item in value)
    return value


def rng_state() -> dict[str, Any]:
    """Return the states of all global random number generators as tensors and plain values."""
    # The overloads of `get_state` do not distinguish the legacy tuple from the dictionary.
    numpy_state: Any = np.random.get_state(legacy=True)
    name, keys, position, has_gauss, gauss = numpy_state
    return {
        "python": random.getstate(),
        "numpy": (name, keys.tolist(), position, has_gauss, gauss),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_rng_state(state: dict[str, Any]) -> None:
    """Set all global random number generators to states that `rng_state` returned."""
    name, keys, position, has_gauss, gauss = state["numpy"]
    random.setstate(state["python"])
    np.random.set_state((name, np.array(keys, np.uint32), position, has_gauss, gauss))
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
