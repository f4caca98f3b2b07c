"""Where a training tells what happens: a small protocol, and the curve that becomes a CSV file."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from mambatalk.files import atomic_file


class Tracker(Protocol):
    """What a training calls; tasks pass one that writes to MLflow."""

    def metrics(self, values: Mapping[str, Any], step: int = 0) -> None:
        """Record numbers at a step."""


class NullTracker:
    """A tracker that keeps nothing."""

    def metrics(self, values: Mapping[str, Any], step: int = 0) -> None:
        """Forget the numbers."""


class Curve:
    """Rows of numbers by epoch, told to a tracker as they come."""

    def __init__(self, tracker: Tracker) -> None:
        self.rows: list[dict[str, float]] = []
        self._tracker = tracker

    def add(self, epoch: int, values: Mapping[str, float]) -> None:
        """Add one epoch."""
        self.rows.append({"epoch": epoch, **values})
        self._tracker.metrics(values, step=epoch)

    def write(self, path: str | Path) -> None:
        """Write the rows as CSV, six significant digits; an imported network has a heading and no
        rows.
        """
        columns = list(self.rows[0]) if self.rows else ["epoch", "train/loss", "val/loss"]
        with (
            atomic_file(path) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(
                {key: f"{value:.6g}" for key, value in row.items()} for row in self.rows
            )
