"""The summary of a build as Markdown: what became of each stage, and the metrics table."""

import json
from pathlib import Path


def summary(root: Path, states: dict[str, str]) -> str:
    """Stages with their states, then the rows of metrics.json where there is one."""
    lines = ["| stage | |", "|---|---|", *(f"| {name} | {state} |" for name, state in states.items())]
    metrics = root / "metrics" / "metrics.json"
    if metrics.is_file():
        lines += ["", *_table(json.loads(metrics.read_text(encoding="utf-8"))["rows"])]
    return "\n".join(lines)


def _table(rows: dict[str, dict[str, dict[str, float | None]]]) -> list[str]:
    names = list(next(iter(rows.values())))
    forms = [(name, form) for name in names for form in ("published", "corrected")]
    header = ["| |" + " | ".join(f"{name} {form}" for name, form in forms) + " |", "|---|" + "---:|" * len(forms)]
    return header + [
        f"| {row} | " + " | ".join(_number(values[name].get(form)) for name, form in forms) + " |"
        for row, values in rows.items()]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
