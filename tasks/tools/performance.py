"""Draw the plots of docs/performance.md: `python -m tasks.tools.performance`.

Every point is read from a table of measurements in docs/, so that no number is written twice. A
plot says so where it shows numbers computed from these. Each plot is written for light and for dark
pages.
"""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from ruamel.yaml import YAML

from mambatalk.errors import InputError
from mambatalk.files import atomic_file
from tasks.runtime.command import run_command

DOCS: Final = Path("docs")
PROFILE: Final = Path("infra/profiles/paper.yaml")
CORPUS_HOURS: Final = (1.0, 60.0)
"""Ends of the lines of the computed plot."""
_SECONDS_PER_HOUR: Final = 3600.0
_FRAMES_PER_SECOND: Final = 30.0
_NUMBER: Final = re.compile(r"-?[\d,]*\.?\d+")
_THEMES: Final[Mapping[str, Mapping[str, str]]] = {
    "light": {"text": "#1f2430", "grid": "#d7dae2", "first": "#3949ab", "second": "#c2185b"},
    "dark": {"text": "#e3e6ee", "grid": "#454a5a", "first": "#8c9eff", "second": "#ff80ab"},
}
Rows = dict[str, list[str]]
Theme = Mapping[str, str]


def read_table(document: str, heading: str) -> Rows:
    """Return the rows of the table below a heading, the head included.

    Returns:
        The cells of each row after its first cell, by its first cell, without marks of bold text.

    Raises:
        InputError: The document has no such heading, or no table below it.

    """
    text = (DOCS / document).read_text(encoding="utf-8")
    _, _, below = text.partition(f"\n## {heading}\n")
    section = below.partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    if not lines:
        raise InputError(
            DOCS / document, f"expected a table below {heading!r}, found none", "restore it"
        )
    rows = {}
    for line in lines:
        first, *others = (cell.strip().replace("**", "") for cell in line.split("|")[1:-1])
        is_rule_below_head = set(others[0]) == {"-"}
        if not is_rule_below_head:
            rows[first] = others
    return rows


def number(cell: str) -> float:
    """Return the first number of a cell, such as 1140 of "1,140 x"."""
    found = _NUMBER.search(cell)
    assert found, cell
    return float(found[0].replace(",", ""))


def plot_speed(axes: Axes, theme: Theme) -> None:
    """Plot the speed of ingest and features against the length of the corpus."""
    rows, hours = _data_table(axes)
    for name, colour, marker in (
        ("ingest", "second", "s"),
        ("features", "first", "o"),
        ("ingest and features", "text", "^"),
    ):
        values = [number(cell) for cell in rows[f"{name}, times real time"][: len(hours)]]
        label = name.replace("ingest and features", "both")
        axes.plot(hours, values, color=theme[colour], marker=marker, label=label)
    axes.axhline(500, color=theme["text"], linestyle=":", linewidth=1)
    axes.annotate("target of both: 500", (10, 410), ha="right", color=theme["text"], fontsize=8)
    axes.set(title="Speed (times real time)", ylim=(0, 1800))
    axes.legend(loc="upper left", frameon=False, labelcolor=theme["text"], fontsize=8)


def plot_memory(axes: Axes, theme: Theme) -> None:
    """Plot the memory of ingest and features against the length of the corpus."""
    rows, hours = _data_table(axes)
    cells = rows["resident memory of all processes, GiB"][: len(hours)]
    axes.plot(hours, [number(cell) for cell in cells], color=theme["first"], marker="o")
    axes.axhline(2, color=theme["text"], linestyle=":", linewidth=1)
    axes.annotate("target: at most 2", (0.5, 2.05), color=theme["text"], fontsize=8)
    axes.set(title="Memory (GiB)", ylim=(0, 2.4))


def _data_table(axes: Axes) -> tuple[Rows, list[float]]:
    rows = read_table("data.md", "Measurements")
    hours = [number(cell) for cell in rows[""] if cell.endswith(" h")]
    axes.set(xlabel="corpus (hours)", xscale="log")
    axes.set_xticks(hours, [f"{value:g}" for value in hours])
    axes.minorticks_off()
    return rows, hours


def plot_cpu_step(axes: Axes, theme: Theme) -> None:
    """Plot the training step of the sample's generator on a CPU."""
    rows = read_table("experiments.md", "The generator's training step on a CPU")
    before, _, now, _ = rows["AVX-512, 1 thread, wall time"]
    _bars(axes, {"commit f334c93": number(before), "ours, now": number(now)}, theme)
    axes.set(title="Sample's size, one CPU thread (ms)")


def plot_gpu_step(axes: Axes, theme: Theme) -> None:
    """Plot the full-size generator's training step on a GPU."""
    rows = read_table("experiments.md", "The generator's training step on a GPU")
    names = {
        "published, PyTorch's default flags": "published",
        "published, TF32 for all products": "published, TF32",
        "ours, launched operation by operation": "ours, no graph",
        "ours as one CUDA graph, audio encoders in one dimension": "ours, CUDA graph",
        "ours as one CUDA graph, audio encoders in two dimensions": "ours, now",
    }
    _bars(axes, {short: number(rows[name][0]) for name, short in names.items()}, theme)
    axes.set(title="Full size, one H100 (ms)")


def plot_cost(axes: Axes, theme: Theme) -> None:
    """Plot the computed time of a full training of the generator against the corpus' length."""
    on_gpu = read_table("experiments.md", "The generator's training step on a GPU")
    published = number(on_gpu["published, PyTorch's default flags"][0])
    ours = number(on_gpu["ours as one CUDA graph, audio encoders in two dimensions"][0])
    for label, step, colour in (
        (f"published step, {published:g} ms", published, "second"),
        (f"our step, {ours:g} ms", ours, "first"),
    ):
        times = [training_hours(hours, step / 1000) for hours in CORPUS_HOURS]
        axes.plot(CORPUS_HOURS, times, color=theme[colour], linestyle="--", label=label)
        for hours, time in zip(CORPUS_HOURS, times, strict=True):
            # Above the line, which rises to the right.
            axes.annotate(
                f"{time:.1f} h",
                (hours, time),
                xytext=(0, 8),
                textcoords="offset points",
                ha="right" if hours == CORPUS_HOURS[-1] else "left",
                color=theme["text"],
                fontsize=8,
            )
    axes.set(
        title="Generator, one H100: computed, not measured",
        xlabel="training motion (hours)",
        ylabel="GPU hours",
        xscale="log",
        yscale="log",
        xlim=(0.9, 70),
        ylim=(0.2, 500),
    )
    axes.set_xticks([1, 2, 5, 10, 20, 60], ["1", "2", "5", "10", "20", "60"])
    axes.set_yticks([1, 10, 100], ["1", "10", "100"])
    axes.minorticks_off()
    axes.legend(loc="upper left", frameon=False, labelcolor=theme["text"], fontsize=8)


def plot_gpus(axes: Axes, theme: Theme) -> None:
    """Plot the speed of the generator's training against the number of GPUs."""
    rows = read_table("experiments.md", "Two GPUs")
    for label, name, colour, marker in (
        ("64 windows each", "two, 64 each", "first", "o"),
        ("64 windows together", "two, 64 together", "second", "s"),
    ):
        speeds = [number(rows[row][1]) for row in ("one GPU, batch 64", name)]
        axes.plot([1, 2], speeds, color=theme[colour], marker=marker, label=label)
        axes.annotate(
            f"{speeds[-1]:.2f}",
            (2, speeds[-1]),
            xytext=(6, -3),
            textcoords="offset points",
            color=theme["text"],
            fontsize=8,
        )
    axes.plot([1, 2], [1, 2], color=theme["text"], linestyle=":", linewidth=1, label="ideal")
    axes.set(title="Generator, full size: speed against one H200", xlabel="GPUs", xlim=(0.8, 2.3))
    axes.set(ylim=(0, 2.4), xticks=[1, 2])
    axes.legend(loc="lower right", frameon=False, labelcolor=theme["text"], fontsize=8)


def plot_synthesis(axes: Axes, theme: Theme) -> None:
    """Plot the speed of synthesis on a CPU against the size of the model."""
    rows = read_table("performance.md", "Using a model")
    two_hours = rows["two hours of speech to npz, the sample's model, one CPU thread"][0]
    second = rows["full size (untrained), one CPU thread, single precision"][0]
    speeds = {
        "ours, sample's size": round(2 * _SECONDS_PER_HOUR / number(two_hours), 1),
        "ours, full size": round(1 / number(second), 1),
    }
    _bars(axes, speeds, theme)
    axes.set(title="One CPU thread, processor time (times real time)")


def training_hours(corpus_hours: float, step_seconds: float) -> float:
    """Compute how long the generator's training of the profile `paper` takes.

    Windows of the corpus, times epochs, divided by the batch, times the time of a step. Waiting for
    data, validation and checkpoints are left out.

    Args:
        corpus_hours: Hours of training motion.
        step_seconds: Time of one training step.

    """
    training = YAML(typ="safe", pure=True).load(PROFILE)["train_generator"]
    frames = corpus_hours * _SECONDS_PER_HOUR * _FRAMES_PER_SECOND
    steps = frames / training["stride"] / training["batch_size"] * training["epochs"]
    return float(steps * step_seconds / _SECONDS_PER_HOUR)


PLOTS: Final[Mapping[str, Callable[[Axes, Theme], None]]] = {
    "speed": plot_speed,
    "memory": plot_memory,
    "cpu-step": plot_cpu_step,
    "gpu-step": plot_gpu_step,
    "cost": plot_cost,
    "gpus": plot_gpus,
    "synthesis": plot_synthesis,
}
"""Functions that draw, by name of the picture."""
SIZE: Final = (4.2, 2.9)
"""Inches: two pictures fit beside each other on a wide page, one on a phone."""


def draw(name: str, theme: str) -> Figure:
    """Return one plot in the colours of a theme, "light" or "dark"."""
    colours = _THEMES[theme]
    style: dict[Any, Any] = {
        "font.family": "sans-serif",
        "font.size": 9,
        "axes.titlesize": 10,
        "axes.edgecolor": colours["grid"],
        "axes.labelcolor": colours["text"],
        "axes.titlecolor": colours["text"],
        "axes.spines.right": False,
        "axes.spines.top": False,
        "xtick.color": colours["text"],
        "ytick.color": colours["text"],
    }
    with mpl.rc_context(style):
        figure = Figure(figsize=SIZE, layout="constrained")
        PLOTS[name](figure.subplots(), colours)
    return figure


def write(figure: Figure, path: Path, name: str) -> None:
    """Write a plot as SVG without a background: the same bytes each time, with text as text."""
    style: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": name}
    with mpl.rc_context(style), atomic_file(path) as temporary:
        figure.savefig(temporary, format="svg", transparent=True, metadata={"Date": None})


def _bars(axes: Axes, values: Mapping[str, float], theme: Theme) -> None:
    names: Sequence[str] = list(values)
    colours = [theme["first" if "ours" in name else "second"] for name in names]
    bars = axes.barh(range(len(names)), list(values.values()), color=colours)
    axes.bar_label(bars, fmt="%g", padding=3, color=theme["text"], fontsize=8)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.15 * max(values.values()))


def command() -> None:
    """Write all plots to docs/images."""
    for name in PLOTS:
        for theme in _THEMES:
            path = DOCS / "images" / f"performance-{name}-{theme}.svg"
            write(draw(name, theme), path, name)
            sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    run_command(command, "tasks.tools.performance", __doc__)
