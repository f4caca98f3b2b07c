"""Print the metrics of the last build and where its results are: `python -m tasks.tools.summary`.

`make repro` ends with it.
"""

import os
from collections import Counter
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from mambatalk.config import load_config
from mambatalk.files import read_json
from mambatalk.metrics.catalogue import (
    EVENT_F1,
    EVENTS,
    METRICS,
    MOTION,
    footnotes,
    mark,
    metric_value,
)
from mambatalk.reporting.text import count_of
from tasks.runtime.command import run_command
from tasks.runtime.origin import origin_of_build
from tasks.runtime.paths import Paths
from tasks.tracking.store import EXPERIMENT, local_store, runs_address

_WIDTH: Final = 146


def table(evaluation: dict[str, Any]) -> Table:
    """Return the metrics of the field: one line per method, in the units of papers."""
    title = (
        f"{count_of(evaluation['clips'], 'clip')}, {evaluation['frames']} frames, "
        f"{evaluation['body']} body model, "
        f"fidelity {evaluation['fidelity']}; each cell: published / corrected"
    )
    result = Table(title=title, title_justify="left")
    result.add_column("")
    with_events = any(score is not None for score in evaluation[EVENT_F1.key].values())
    metrics = [*METRICS.values(), *EVENTS.values()] if with_events else [*METRICS.values()]
    for metric in metrics:
        result.add_column(f"{metric.heading}{mark(metric, evaluation)}", justify="right")
    for row in evaluation["rows"]:
        cells = []
        for metric in METRICS.values():
            published = metric.format(metric_value(evaluation, row, metric.key, "published"))
            corrected = metric.format(metric_value(evaluation, row, metric.key, "corrected"))
            cells.append(f"{published} / {corrected}")
        if with_events:
            cells += [
                metric.format(metric_value(evaluation, row, key)) for key, metric in EVENTS.items()
            ]
        result.add_row(row.replace("_", " "), *cells)
    return result


def motion_table(evaluation: dict[str, Any]) -> Table:
    """Return the metrics of motion and ground contact: one line per metric, a column per method."""
    result = Table(title="motion and ground contact, corrected", title_justify="left")
    result.add_column("")
    result.add_column("better")
    for row in evaluation["rows"]:
        result.add_column(row.replace("_", " "), justify="right")
    for metric in MOTION.values():
        cells = [
            metric.format(metric_value(evaluation, row, metric.key)) for row in evaluation["rows"]
        ]
        heading = f"{metric.heading}{mark(metric, evaluation)}"
        result.add_row(heading, metric.better, *cells)
    return result


def show(root: Path, experiment: str = EXPERIMENT) -> None:
    """Print the metrics of a build and where its results are.

    Args:
        root: Root of the checkout with the build.
        experiment: Name of the MLflow experiment of the build.

    """
    paths = Paths(root)
    console = Console()
    console.width = max(console.width, _WIDTH)
    evaluation = read_json(paths.evaluation)
    console.print(table(evaluation))
    console.print(motion_table(evaluation))
    statuses = Counter(one["status"] for one in evaluation["checks"])
    numbers = ", ".join(f"{statuses[name]} {name}" for name in ("passed", "failed", "not shown"))
    console.print(f"{len(evaluation['checks'])} checks: {numbers}", highlight=False)
    origin = origin_of_build(root)
    console.print(
        f"one seed ({origin['seed']}), commit {origin['commit']}, {origin['processor']}",
        highlight=False,
        soft_wrap=True,
    )
    for sign, text in footnotes(evaluation).items():
        console.print(f"{sign} {text}", highlight=False)
    for note in evaluation["warnings"]:
        console.print(f"note: {note}", style="yellow", highlight=False, soft_wrap=True)
    for name, place in (
        ("report", paths.report),
        ("data quality", paths.quality_page),
        ("videos", paths.renders),
        ("model", paths.bundle),
        ("commands", "source .venv/bin/activate"),
        ("runs", f"mlflow ui --backend-store-uri {local_store()}"),
        ("", runs_address(experiment)),
    ):
        if place is None:
            continue
        console.print(f"{name:>13}  {place}", highlight=False, soft_wrap=True)


def command() -> None:
    """Check `params.yaml`, and print the summary."""
    # Not checked by DVC: a build can be up to date while a section that no stage reads is wrong.
    load_config(Paths().params)
    show(Path(), os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT)


if __name__ == "__main__":
    run_command(command, "tasks.tools.summary", __doc__)
