"""The complete state of a training, on disk.

A training that is interrupted and resumed from its state gives the same bits as one that was not:
the state holds everything that the rest of the training depends on, including the random number
generators of Python, NumPy, PyTorch and CUDA. It is read with `weights_only=True`, which unpickles
tensors and plain values but runs no code from the file.
"""

import os
import pickle
import random
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from mambatalk.errors import InputError
from mambatalk.files import atomic_file
from mambatalk.training.context import Curve, TrainContext
from mambatalk.training.loop.data import TrainingData
from mambatalk.training.loop.module import TrainingModule
from mambatalk.training.loop.optim import OptimSettings, build_optimizer, build_schedule

STATE_FILE: Final = "train_state.pt"


@dataclass(frozen=True)
class Best:
    """The module at the epoch with the lowest validation loss so far."""

    epoch: int
    loss: float
    weights: dict[str, Tensor]
    """State dict of the module, on the CPU."""


class TrainState:
    """Everything that changes during a training.

    Args:
        module: The module to train, on its device.
        data: Windows; their order is drawn from `data.seed`.
        optim: Optimizer and schedule.
        context: Its tracker receives the curve.

    Attributes:
        epoch: Number of finished epochs.
        order: Generator of the order of windows; its state is the position of the sampler.
        best: None before the first epoch has finished.

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
        self.order = np.random.default_rng(data.seed)
        self.epoch = 0
        self.curve = Curve(context.tracker)
        self.best: Best | None = None
        self._tracker = context.tracker
        self._identity = {
            "name": module.name,
            "optim": asdict(optim),
            "data": {
                "train": len(data.train),
                "validation": len(data.validation),
                "length": data.length,
                "batch_size": data.batch_size,
                "seed": data.seed,
            },
        }

    def finish_epoch(self, row: dict[str, float]) -> None:
        """Add an epoch's metrics to the curve, keep the weights if best, advance the schedule."""
        loss = row["val/loss"]
        if self.best is None or loss < self.best.loss:
            weights = {
                key: value.detach().to("cpu", copy=True)
                for key, value in self.module.state_dict().items()
            }
            self.best = Best(self.epoch, loss, weights)
        self.curve.add(self.epoch, row)
        self.schedule.step()
        self.epoch += 1

    def save(self, folder: Path) -> None:
        """Write the state to `folder`/train_state.pt, atomically.

        Raises:
            InputError: The folder cannot be written to, or the disk is full.

        """
        with atomic_file(folder / STATE_FILE) as temporary, temporary.open("wb") as file:
            torch.save(self._content(), file)
            # Without this, a power cut could leave the new name on an empty file.
            file.flush()
            os.fsync(file.fileno())

    def resume(self, folder: Path) -> bool:
        """Read the state from a folder, if there is one, and continue from it.

        The tracker receives the epochs so far, unless its run is the one that already has them.

        Returns:
            Whether there was a state.

        Raises:
            InputError: The file is damaged, or it is the state of another training.

        """
        path = folder / STATE_FILE
        if not path.is_file():
            return False
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
            found = content["identity"]
        except (OSError, RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError) as e:
            raise InputError(
                path,
                f"expected a training state, found a file that does not load ({_first_line(e)})",
                "delete it to start this training from the beginning",
            ) from None
        if found != self._identity:
            raise InputError(
                path,
                f"expected the state of {self._identity}, found that of {found}",
                "delete it, or use another scratch folder",
            )
        try:
            self._restore(content)
        except (KeyError, RuntimeError, ValueError) as error:
            raise InputError(
                path,
                f"expected the state of this network, found another one ({_first_line(error)})",
                "delete it, or use another scratch folder",
            ) from None
        return True

    def _content(self) -> dict[str, Any]:
        best = None if self.best is None else {**vars(self.best)}
        return {
            "identity": self._identity,
            "epoch": self.epoch,
            "module": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "order": self.order.bit_generator.state,
            "random": rng_state(),
            "curve": self.curve.rows,
            "best": best,
            "run_id": self._tracker.run_id,
        }

    def _restore(self, content: dict[str, Any]) -> None:
        self.module.load_state_dict(content["module"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.schedule.load_state_dict(content["schedule"])
        self.order.bit_generator.state = content["order"]
        self.epoch = content["epoch"]
        self.best = content["best"] and Best(**content["best"])

        run_id = content["run_id"]
        self.curve.restore(
            content["curve"], record=run_id is None or run_id != self._tracker.run_id
        )
        set_rng_state(content["random"])


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


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
