"""Markdown summaries of flow runs, for Prefect's artifacts and for the terminal."""

from pathlib import Path
from typing import Any

from flows.workspace import Workspace
from mambatalk.files import read_json
from mambatalk.reporting.text import count_of


def build_summary(workspace: Workspace, outcomes: dict[str, str]) -> str:
    """Return a table of stages and outcomes, and the tables of metrics if there are any."""
    lines = ["| stage | outcome |", "|---|---|"]
    lines += [f"| {stage} | {outcome} |" for stage, outcome in outcomes.items()]
    evaluation = workspace.paths.evaluation
    if evaluation.is_file():
        # Not at the top: with these every flow would import PyTorch before it starts.
        from mambatalk.evaluation.table import metrics_table
        from mambatalk.metrics.catalogue import footnotes

        result = read_json(evaluation)
        lines += ["", *metrics_table(result, "markdown").splitlines(), ""]
        lines += [f"{sign} {text}." for sign, text in footnotes(result).items()]
    return "\n".join(lines)


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


def decision_summary(decision: dict[str, Any], page: Path) -> str:
    """Return the decision of the promotion gate as Markdown.

    Args:
        decision: Content of `decision.json`.
        page: Page of the decision.

    """
    against = f"version {decision['champion']}" if decision["champion"] else "no champion"
    lines = [
        f"**{decision['verdict']}** version {decision['version']} against {against}: "
        f"{decision['reason']}",
        "",
        "| rule | result | numbers |",
        "|---|---|---|",
    ]
    for rule in decision["rules"]:
        lines.append(f"| {rule['name']} | {rule['status']} | {rule['text']} |")
    return "\n".join([*lines, "", *_drift_lines(decision["drift"]), f"Page: `{page}`"])


def _drift_lines(drift: list[dict[str, Any]]) -> list[str]:
    """Return a list of the features that shifted since the champion's snapshot."""
    lines = [
        f"- {shift['feature']}, speaker {shift['speaker']}: "
        f"PSI {shift['psi']:.2f}, {shift['level']}"
        for shift in drift
    ]
    return ["Drift since the champion's snapshot:", "", *lines, ""] if lines else []
