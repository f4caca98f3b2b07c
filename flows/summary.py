"""Markdown summaries of flow runs, for Prefect's artifacts and for the terminal."""

import json
from typing import Any

from flows.workspace import Workspace
from mambatalk.reporting.text import count_of


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


def quality_summary(summary: dict[str, Any], *, refreshed: bool) -> str:
    """Return one line about a data-quality report, then a list of what it found.

    Args:
        summary: From `summary.json` of the report.
        refreshed: Whether the report is new; otherwise nothing has changed since it was made.

    """
    quarantined = summary["quarantined"]
    headline = (
        f"{count_of(summary['clips'], 'clip')}, {len(quarantined)} quarantined, "
        f"{count_of(summary['warnings'], 'warning')}, "
        f"{count_of(len(summary['drifted']), 'feature')} drifted"
    )
    if not refreshed:
        headline += "; nothing has changed since the last report"

    lines = [f"- **critical** {reason}" for reason in summary["critical"]]
    for kind, count in (summary["clip_changes"] or {}).items():
        lines.append(f"- {count_of(count, 'clip')} {kind}")
    for shift in summary["drifted"]:
        speaker = "all speakers" if shift["speaker"] == "all" else f"speaker {shift['speaker']}"
        drift = f"PSI {shift['psi']:.2f}, {shift['level']}"
        lines.append(f"- {shift['feature']} of {speaker} drifted: {drift}")
    for clip, reasons in quarantined.items():
        lines.append(f"- quarantined {clip}: {'; '.join(reasons)}")
    return "\n".join([f"{headline}.", "", *lines]).rstrip()
