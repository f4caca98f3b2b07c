"""The metrics in one short table, and where to look next: `python -m tasks.summary`, the end of `make repro`."""

from typing import Any, Final

from rich.console import Console
from rich.table import Table

from mambatalk.files import read_json
from tasks._paths import BUNDLE, EVALUATION, QUALITY, RENDERS, REPORT
from tasks._store import home

_WIDTH: Final = 132


def table(evaluation: dict[str, Any]) -> Table:
    """Build the table of `metrics/metrics.json`: one row per thing measured, published and corrected side by side."""
    rows = evaluation["rows"]
    metrics = list(next(iter(rows.values())))
    title = (f"{evaluation['clips']} clips, {evaluation['frames']} frames, {evaluation['body']} body model, "
             f"fidelity {evaluation['fidelity']}; each cell: published / corrected")
    result = Table(title=title, title_justify="left")
    result.add_column("")
    for metric in metrics:
        result.add_column(metric, justify="right")
    for name, row in rows.items():
        result.add_row(name.replace("_", " "), *(f"{_number(row[metric].get('published'))} / "
                                                 f"{_number(row[metric].get('corrected'))}" for metric in metrics))
    return result


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def main() -> None:
    """Print it."""
    console = Console()
    console.width = max(console.width, _WIDTH)
    console.print(table(read_json(EVALUATION)))
    for what, where in (("report", REPORT), ("data quality", QUALITY), ("videos", RENDERS), ("model", BUNDLE),
                        ("runs", f"mlflow ui --backend-store-uri sqlite:///{home() / 'mlflow.db'}")):
        console.print(f"{what:>13}  {where}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
