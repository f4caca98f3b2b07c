"""What a training gets from its caller, and the curve of metrics that it records."""

import csv
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from mambatalk.errors import InputError
from mambatalk.files import atomic_file


class Tracker(Protocol):
    """Receives the metrics of a training. The pipeline's implementation writes to MLflow."""

    def metrics(self, values: Mapping[str, Any], step: int = 0) -> None:
        """Record numbers at a step, unless an interrupted training has recorded them before."""


class NullTracker:
    """A tracker that discards everything."""

    def metrics(self, values: Mapping[str, Any], step: int = 0) -> None:
        """Discard the numbers."""


def checkpoint_seconds() -> float:
    """Return the time between checkpoints: `MAMBATALK_CHECKPOINT_SECONDS`, or five minutes.

    A full-size checkpoint takes 3.1 GB (weights, the two moments of Adam, best weights).

    Raises:
        InputError: The variable is not a finite number, or is negative.

    """
    text = os.environ.get("MAMBATALK_CHECKPOINT_SECONDS") or "300"
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < math.inf:
        raise InputError(
            "MAMBATALK_CHECKPOINT_SECONDS",
            f"expected a number of seconds, found {text!r}",
            "set it to a number such as 300, or unset it",
        )
    return seconds


@dataclass(frozen=True, kw_only=True)
class TrainContext:
    """Where a training runs and where it reports to. Nothing here is a hyper-parameter."""

    device: torch.device
    scratch: Path | None = None
    """Folder for the training state. If None, no state is written and nothing is resumed."""
    tracker: Tracker = field(default_factory=NullTracker)
    save_seconds: float = field(default_factory=checkpoint_seconds)
    """Shortest time between two checkpoints."""


class Curve:
    """Metrics by epoch, passed on to a tracker as they are added."""

    def __init__(self, tracker: Tracker) -> None:
        self.rows: list[dict[str, float]] = []
        self._tracker = tracker

    def add(self, epoch: int, values: Mapping[str, float]) -> None:
        """Add the metrics of one epoch, counted from 1, and record them."""
        self.rows.append({"epoch": epoch, **values})
        self._tracker.metrics(values, step=epoch)

    def restore(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Replace all rows with those of an interrupted training, as `add` stores them.

        The tracker gets them too, because its run may be new, or lack the last rows.
        """
        self.rows = [dict(row) for row in rows]
        for row in self.rows:
            values = {key: value for key, value in row.items() if key != "epoch"}
            self._tracker.metrics(values, step=int(row["epoch"]))

    def at(self, epoch: int, split: str) -> dict[str, float]:
        """Return an epoch's metrics of a split, without the prefix.

        Args:
            epoch: Epoch, from 1.
            split: "train", "val" or "check".

        """
        prefix = f"{split}/"
        return {
            key.removeprefix(prefix): value
            for key, value in self.rows[epoch - 1].items()
            if key.startswith(prefix)
        }

    def write(self, path: str | Path) -> None:
        """Write the rows as CSV with six significant digits.

        A network that was imported and not trained has no rows; its file has the header alone.
        """
        columns = list(self.rows[0]) if self.rows else ["epoch", "train/loss", "val/loss"]
        lines = [{key: f"{value:.6g}" for key, value in row.items()} for row in self.rows]
        with (
            atomic_file(path) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(lines)
