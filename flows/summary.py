"""Summaries as Markdown: of a build, what became of each stage and the metrics table; of a look at
the corpus.
"""

import json
from pathlib import Path
from typing import Any


def summary(root: Path, states: dict[str, str]) -> str:
    """Stages with their states, then the rows of metrics.json where there is one."""
    lines = [
        "| stage | |",
        "|---|---|",
        *(f"| {name} | {state} |" for name, state in states.items()),
    ]
    metrics = root / "metrics" / "metrics.json"
    if metrics.is_file():
        lines += ["", *_table(json.loads(metrics.read_text(encoding="utf-8"))["rows"])]
    return "\n".join(lines)


def _table(rows: dict[str, dict[str, dict[str, float | None]]]) -> list[str]:
    names = list(next(iter(rows.values())))
    forms = [(name, form) for name in names for form in ("published", "corrected")]
    header = [
        "| |" + " | ".join(f"{name} {form}" for name, form in forms) + " |",
        "|---|" + "---:|" * len(forms),
    ]
    return header + [
        f"| {row} | " + " | ".join(_number(values[name].get(form)) for name, form in forms) + " |"
        for row, values in rows.items()
    ]


def _number(value: float | None) -> str:
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
