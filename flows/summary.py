"""Markdown summaries of flow runs, for Prefect's artifacts and for the terminal."""

import json
from typing import Any

from flows.workspace import Workspace


def build_summary(workspace: Workspace, outcomes: dict[str, str]) -> str:
    """Return a table of stages and outcomes, and the metrics if there are any."""
    lines = ["| stage | outcome |", "|---|---|"]
    lines += [f"| {stage} | {outcome} |" for stage, outcome in outcomes.items()]
    evaluation = workspace.paths.evaluation
    if evaluation.is_file():
        metrics = json.loads(evaluation.read_text(encoding="utf-8"))
        lines += ["", *_metrics_table(metrics["rows"])]
    return "\n".join(lines)


def _metrics_table(rows: dict[str, dict[str, dict[str, float | None]]]) -> list[str]:
    metrics = list(next(iter(rows.values())))
    columns = [(metric, form) for metric in metrics for form in ("published", "corrected")]
    titles = " | ".join(f"{metric} {form}" for metric, form in columns)
    lines = [f"| row | {titles} |", "|---|" + "---:|" * len(columns)]
    for row, values in rows.items():
        cells = " | ".join(_cell(values[metric].get(form)) for metric, form in columns)
        lines.append(f"| {row} | {cells} |")
    return lines


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def quality_summary(look: dict[str, Any], *, looked: bool) -> str:
    """What a look at the corpus found: one line, then what it is made of."""
    out = look["quarantined"]
    first = (
        f"{look['clips']} clips, {len(out)} left out, {look['warnings']} warnings, {len(look['drifted'])} measures "
        f"moved{'' if looked else '; nothing has changed since the last look'}."
    )
    lines = [f"- **critical** {reason}" for reason in look["critical"]]
    lines += [f"- {count} clips {kind}" for kind, count in (look["clip_changes"] or {}).items()]
    lines += [
        f"- {one['feature']} of {'speaker ' if one['speaker'] != 'all' else ''}{one['speaker']} moved: PSI "
        f"{one['psi']:.2f}, {one['level']}"
        for one in look["drifted"]
    ]
    lines += [f"- left out {clip}: {'; '.join(reasons)}" for clip, reasons in out.items()]
    return "\n".join([first, "", *lines]).rstrip()
