"""Windows that a network is trained and validated on."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mambatalk.errors import InputError
from mambatalk.features.store import FeatureStore
from mambatalk.features.windows import WindowBatch, batches, windows
from mambatalk.fidelity import FidelityRules


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """Windows of the training and the validation split, and how they are batched."""

    store: FeatureStore
    train: NDArray[np.int64]
    """(W, 2): clip and first frame of each training window."""
    validation: NDArray[np.int64]
    """(W, 2) of the validation windows."""
    length: int
    """Frames of a window."""
    audio: bool
    """Whether batches contain audio channels."""
    batch_size: int
    seed: int
    """Seed for the order of the windows and for all random draws of the steps."""

    @classmethod
    def from_store(
        cls,
        store: FeatureStore,
        *,
        length: int,
        stride: int,
        audio: bool,
        rules: FidelityRules,
        batch_size: int,
        seed: int,
    ) -> "TrainingData":
        """Cut the clips of a store into windows.

        Args:
            store: Features with a training and a validation split.
            length: Frames of a window.
            stride: Frames between the starts of training windows. Validation windows lie side by
                side.
            audio: Whether batches contain audio channels.
            rules: Published or corrected use of the frames at a clip's end.
            batch_size: Windows of a batch.
            seed: Seed for the order of the windows and for all random draws of the steps.

        Raises:
            InputError: A split has no clip, or no clip as long as a window.

        """

        def of_split(split: str, step: int) -> NDArray[np.int64]:
            return windows(store, split, length=length, stride=step, audio=audio, rules=rules)

        return cls(
            store=store,
            train=of_split("train", stride),
            validation=of_split("val", length),
            length=length,
            audio=audio,
            batch_size=batch_size,
            seed=seed,
        )

    def __post_init__(self) -> None:
        for split, rows in (("train", self.train), ("val", self.validation)):
            if not len(rows):
                raise InputError(
                    f"split {split}",
                    f"expected a clip of {self.length} frames, found no window",
                    "add longer clips, or shorten the window",
                )

    def epoch_windows(self, epoch: int) -> NDArray[np.int64]:
        """Return the training windows (W, 2) of an epoch in their order.

        The order is a function of the seed and the epoch. An incomplete last batch is dropped,
        unless it is the only one.

        Args:
            epoch: Epoch, from 0.

        """
        order = np.random.default_rng(self.seed)
        # One generator draws the orders of all epochs. Those before are drawn and discarded: 11 ms
        # for each epoch of the 320,000 windows of 60 h, in which an epoch takes minutes.
        for _ in range(epoch):
            order.permutation(len(self.train))
        rows = self.train[order.permutation(len(self.train))]
        whole = len(rows) // self.batch_size * self.batch_size or len(rows)
        return rows[:whole]

    def training_batches(
        self,
        epoch: int,
        device: torch.device,
        *,
        first: int = 0,
        part: int = 0,
        parts: int = 1,
    ) -> Iterator[WindowBatch]:
        """Iterate over the training batches of an epoch, or over an equal part of each.

        Args:
            epoch: Epoch, from 0.
            device: Device of the tensors.
            first: Number of batches to skip.
            part: Which part of each batch, from 0. The parts follow each other in the batch.
            parts: Number of parts.

        Raises:
            InputError: A batch cannot be divided into so many parts.

        """
        rows = self.epoch_windows(epoch)
        size = min(self.batch_size, len(rows))
        if size % parts:
            raise InputError(
                "batch_size",
                f"expected a multiple of the {parts} processes, found {size} windows",
                "change it, or the number of processes",
            )
        share = size // parts
        of_part = rows.reshape(-1, size, 2)[first:, part * share : (part + 1) * share]
        return batches(
            self.store,
            of_part.reshape(-1, 2),
            self.length,
            batch_size=share,
            audio=self.audio,
            device=device,
        )

    def clip_ids(self, epoch: int, number: int) -> list[str]:
        """Return the sorted ids of the clips in a training batch.

        Args:
            epoch: Epoch, from 0.
            number: Batch within the epoch, from 0.

        """
        rows = self.epoch_windows(epoch)[number * self.batch_size :][: self.batch_size]
        return sorted({self.store.clips[index].clip_id for index in rows[:, 0]})

    def validation_batches(self, device: torch.device) -> Iterator[WindowBatch]:
        """Iterate over all validation windows in order; the last batch may be smaller."""
        return batches(
            self.store,
            self.validation,
            self.length,
            batch_size=self.batch_size,
            audio=self.audio,
            device=device,
        )

    def subsample(self, device: torch.device, *, count: int = 1024) -> Iterator[WindowBatch]:
        """Iterate over about `count` training windows without audio, evenly spaced in the corpus.

        That many are enough for the mean and the standard deviation of each channel.
        """
        rows = self.train[:: max(1, len(self.train) // count)]
        return batches(self.store, rows, self.length, batch_size=64, audio=False, device=device)
