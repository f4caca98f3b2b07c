"""The contract between the loop and a network: a module whose forward pass returns loss terms."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mambatalk.features.windows import WindowBatch
from mambatalk.training.loop.data import TrainingData

LossTerms = dict[str, Tensor]
"""Weighted scalar loss terms by name. The loop minimises their sum."""


def total(terms: Iterable[Tensor]) -> Tensor:
    """Return the sum of one or more scalar terms."""
    return torch.stack(list(terms)).sum()


class Means:
    """Means of scalar terms, weighted by the number of windows of each batch."""

    def __init__(self, sums: LossTerms | None = None, count: int = 0) -> None:
        self.sums: LossTerms = dict(sums or {})
        self.count = count

    def add(self, terms: LossTerms, count: int) -> None:
        """Add the terms of a batch of `count` windows."""
        for key, value in terms.items():
            self.sums[key] = self.sums.get(key, 0) + value.detach().double() * count
        self.count += count

    def values(self) -> dict[str, float]:
        """Return the means by name."""
        return {key: float(value) / self.count for key, value in self.sums.items()}


class Step(NamedTuple):
    """Position of a training step in the schedule."""

    epoch: int
    """Epoch, from 0."""
    epochs: int
    """Number of epochs of the whole training."""
    number: int
    """Batch within the epoch, from 0."""


class TrainingModule(nn.Module, ABC):
    """A network together with its losses.

    The forward pass is the whole computation of a step, so that a wrapper (DistributedDataParallel,
    `torch.compile`) runs all of it. `train()` and `eval()` switch between training and validation.
    The state dict holds all tensors that a resumed training needs: weights and counters.

    Args:
        name: Name of the training in messages, such as "train_vq@face".

    Attributes:
        capturable: Whether a step can be recorded as a CUDA graph: it reads no result on the CPU,
            copies nothing to the GPU, and depends on `phase` and not on the number of the step.
        selected_by: Loss terms whose sum on the validation split selects the best epoch. Empty
            selects by all terms. Terms that grow harder over the epochs have to be left out.

    """

    capturable = False
    selected_by: tuple[str, ...] = ()

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def phase(self, step: Step) -> object:
        """Return what a step depends on besides its batch: here the epoch.

        A recorded step is recorded anew where this changes.
        """
        return step.epoch

    @abstractmethod
    def forward(self, batch: WindowBatch, step: Step) -> LossTerms:
        """Return the weighted loss terms of a batch."""

    def after_backward(self, step: Step) -> None:  # noqa: B027 - most networks change nothing here
        """Change weights outside the optimizer, with statistics that the forward pass kept.

        Called in every training step between the backward pass and the optimizer's update. The
        update therefore also applies to the changed weights.
        """

    def after_epoch(self, data: TrainingData, device: torch.device) -> None:  # noqa: B027
        """Update what the optimizer does not train, before the epoch is validated.

        Called in training mode after the last step of every epoch, in every process, with the same
        result in each. It may not use the global random number generators.
        """

    def measure(self, data: TrainingData, device: torch.device) -> dict[str, float]:
        """Return what the losses do not show, by name; nothing for most networks.

        Called after the validation of every epoch, in evaluation mode. It may not use the global
        random number generators, which the training depends on.
        """
        return {}
