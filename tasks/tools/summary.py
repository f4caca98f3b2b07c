"""The metrics in one short table, and where to look next: `python -m tasks.tools.summary`, the end of
`make repro`.
"""

from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from mambatalk.config import load_config
from mambatalk.files import read_json
from tasks.runtime.paths import BUNDLE, EVALUATION, QUALITY, RENDERS, REPORT
from tasks.runtime.view import PARAMS
from tasks.tools.command import run_tool
from tasks.tracking.store import home

_WIDTH: Final = 146


def table(evaluation: dict[str, Any]) -> Table:
    """Build the table of `metrics/metrics.json`: one row per thing measured, published and
    corrected side by side.
    """
    rows = evaluation["rows"]
    metrics = list(next(iter(rows.values())))
    title = (
        f"{evaluation['clips']} clips, {evaluation['frames']} frames, {evaluation['body']} body model, "
        f"fidelity {evaluation['fidelity']}; each cell: published / corrected"
    )
    result = Table(title=title, title_justify="left")
    result.add_column("")
    events = {name: score for name, score in evaluation["event_f1"].items() if score is not None}
    for metric in (*metrics, *(["event F1"] if events else [])):
        result.add_column(metric, justify="right")
    for name, row in rows.items():
        result.add_row(
            name.replace("_", " "),
            *(
                f"{_number(row[metric].get('published'))} / {_number(row[metric].get('corrected'))}"
                for metric in metrics
            ),
            *([_number(events.get(name))] if events else []),
        )
    return result


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def show(checkout: Path) -> None:
    """Print the table of the build that lies here, and where to look, as seen from the folder that
    `checkout` is in.
    """
    console = Console()
    console.width = max(console.width, _WIDTH)
    evaluation = read_json(EVALUATION)
    console.print(table(evaluation))
    for note in evaluation["warnings"]:
        console.print(f"note: {note}", style="yellow", highlight=False, soft_wrap=True)
    for what, where in (
        ("report", checkout / REPORT),
        ("data quality", checkout / QUALITY),
        ("videos", checkout / RENDERS),
        ("model", checkout / BUNDLE),
        ("commands", "source .venv/bin/activate"),
        ("runs", f"mlflow ui --backend-store-uri sqlite:///{home() / 'mlflow.db'}"),
    ):
        console.print(f"{what:>13}  {where}", highlight=False, soft_wrap=True)


def main() -> None:
    """Print it; parameters that no stage had a reason to read are read here."""
    run_tool(lambda: load_config(PARAMS))
    show(Path())


if __name__ == "__main__":
    main()
