"""Training curves as SVG. Colours come from the page's style, for light and dark alike."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

# Size and margins in pixels of the SVG's view box.
WIDTH, HEIGHT = 360, 226
LEFT, RIGHT, TOP, BOTTOM = 66, 12, 12, 44
NETWORKS: Final = {
    "train_vq/face": "Face auto-encoder",
    "train_vq/upper": "Upper-body auto-encoder",
    "train_vq/hands": "Hands auto-encoder",
    "train_vq/lower": "Lower-body auto-encoder",
    "train_vq/global": "Global-motion auto-encoder",
    "train_fgd_encoder": "FGD encoder",
    "train_generator": "Generator",
}
SERIES: Final = {"train/loss": "training", "val/loss": "validation"}


@dataclass(frozen=True)
class Axis:
    """A linear scale from values to pixels, with its ticks (pixel, text)."""

    ticks: list[tuple[float, str]]
    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Return the pixel of a value."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)


def curves(folder: Path) -> list[dict[str, Any]]:
    """Return one chart per network, from the curves in a folder.

    A network that was imported has an empty curve and gets no chart.
    """
    rows_by_title = {title: _rows(folder / f"{name}.csv") for name, title in NETWORKS.items()}
    return [_chart(title, rows) for title, rows in rows_by_title.items() if rows]


def _rows(path: Path) -> list[dict[str, float]]:
    with path.open(newline="", encoding="utf-8") as file:
        return [{key: float(text) for key, text in row.items()} for row in csv.DictReader(file)]


def _chart(title: str, rows: list[dict[str, float]]) -> dict[str, Any]:
    present = {key: name for key, name in SERIES.items() if key in rows[0]}
    epochs = [row["epoch"] for row in rows]
    losses = [row[key] for row in rows for key in present]
    x = _axis(min(epochs), max(epochs), LEFT, WIDTH - RIGHT, whole=True)
    y = _axis(min(losses), max(losses), HEIGHT - BOTTOM, TOP)
    lines = []
    for key, name in present.items():
        points = [
            (x.at(epoch), y.at(row[key]), f"epoch {epoch:g}: {row[key]:.4g}")
            for epoch, row in zip(epochs, rows, strict=True)
        ]
        lines.append({"name": name, "points": points, "last": f"{rows[-1][key]:.4g}"})
    return {
        "title": title,
        "x": x,
        "y": y,
        "lines": lines,
        "width": WIDTH,
        "height": HEIGHT,
        "frame": (LEFT, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM),
        "epochs": len(rows),
    }


def _axis(low: float, high: float, start: float, end: float, *, whole: bool = False) -> Axis:
    """Build an axis with about five ticks.

    Args:
        low: Smallest value.
        high: Largest value.
        start: Pixel of the low end.
        end: Pixel of the high end.
        whole: Whether ticks are whole numbers within the values; if not, the axis is extended to
            its outer ticks.

    """
    from matplotlib.ticker import MaxNLocator

    if low == high:
        low, high = low - 0.5, high + 0.5
    values = np.asarray(MaxNLocator(nbins=5, integer=whole).tick_values(low, high))
    if whole:
        values = values[(values >= low) & (values <= high) & (values == np.round(values))]
    else:
        low, high = values[0], values[-1]
    axis = Axis([], float(low), float(high), start, end)
    axis.ticks.extend((axis.at(value), f"{value:g}") for value in values)
    return axis
