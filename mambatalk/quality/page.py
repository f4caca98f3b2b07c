"""The page itself: numbers and pictures of one look at a corpus, put into a template that fetches
nothing.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd

from mambatalk.corpus.layout import SPLITS
from mambatalk.files import atomic_file
from mambatalk.quality.cases import cases
from mambatalk.quality.comparison import readings
from mambatalk.quality.distributions import distributions
from mambatalk.quality.drift import FALSE_DISCOVERIES, LARGE, MIN_CLIPS, MODERATE
from mambatalk.quality.measures import numeric, with_derived
from mambatalk.quality.report import Look
from mambatalk.quality.rules import Rule
from mambatalk.reporting.html import render

TEMPLATE: Final = Path(__file__).with_name("page.html")
SEVERITIES: Final = ("critical", "quarantine", "warning")


def write_quality_page(path: Path, look: Look) -> None:
    """Write the page, whole or not at all; its bytes depend on the clips and the rules alone."""
    page = render(TEMPLATE, content(look))
    with atomic_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def content(look: Look) -> dict[str, Any]:
    """Everything the template shows."""
    table, findings = with_derived(look.store.manifest), look.findings
    left_out = sorted(look.verdict["quarantined"])
    return {
        "look": look,
        "headline": headline(look, len(table)),
        "facts": _facts(table),
        "left_out": left_out,
        "critical": look.verdict["critical"],
        "rules": _rules(look.rules, findings, len(table)),
        "cases": cases(look.store, findings, look.rules),
        "acting": list(findings[findings["severity"] != "warning"].itertuples()),
        "warnings": list(findings[findings["severity"] == "warning"].itertuples()),
        "pictures": distributions(table, look.rules, left_out),
        "speakers": _speakers(table, left_out),
        "names": {
            str(one): f"{one} {name}"
            for one, name in table.groupby("speaker")["name"].first().items()
        },
        "splits": SPLITS,
        "moved": readings(look.comparison) if look.comparison else "",
        "thresholds": {
            "moderate": MODERATE,
            "large": LARGE,
            "alarms": FALSE_DISCOVERIES,
            "clips": MIN_CLIPS,
        },
    }


def headline(look: Look, clips: int) -> tuple[str, str]:
    """What comes of it, and what that means."""
    verdict, out = look.verdict, len(look.verdict["quarantined"])
    warnings = f"{verdict['warnings']} warning{'' if verdict['warnings'] == 1 else 's'}"
    if verdict["critical"]:
        return (
            "Not fit to train on",
            f"{len(verdict['critical'])} critical finding{'' if len(verdict['critical']) == 1 else 's'} would stop "
            f"the pipeline; {out} of {clips} clips would be left out; {warnings}.",
        )
    if out:
        return (
            f"{out} of {clips} clips left out",
            f"The other {clips - out} may be trained on; {warnings}.",
        )
    return (
        f"All {clips} clips accepted",
        f"{warnings.capitalize() if warnings[0] != '0' else 'No warnings'}.",
    )


def _facts(table: pd.DataFrame) -> dict[str, Any]:
    return {
        "clips": len(table),
        "hours": float(numeric(table["motion_seconds"]).sum()) / 3600,
        "sound": float(numeric(table["audio_seconds"]).sum()) / 3600,
        "speakers": [
            f"{speaker} {name}"
            for speaker, name in sorted(set(zip(table["speaker"], table["name"], strict=True)))
        ],
        "languages": table["language"].value_counts().to_dict(),
        "splits": {split: int((table["split"] == split).sum()) for split in SPLITS},
        "unlisted": int(table["split"].isna().sum()),
        "unreadable": int(table["fault"].notna().sum()),
        "textgrid": int(table["has_textgrid"].sum()),
        "semantics": int(table["has_semantics"].sum()),
    }


def _rules(
    rules: Sequence[Rule], findings: pd.DataFrame, clips: int
) -> list[tuple[Rule, int, float]]:
    """Rule, clips that break it, their share; the gravest and most broken first."""
    counts = findings.groupby("rule")["clip_id"].nunique()
    found = [(rule, int(counts.get(rule.name, 0))) for rule in rules]
    found.sort(key=lambda pair: (pair[1] == 0, SEVERITIES.index(pair[0].severity), -pair[1]))
    return [(rule, count, count / clips) for rule, count in found]


def _speakers(table: pd.DataFrame, left_out: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {
            "speaker": f"{speaker} {' / '.join(sorted(set(rows['name'])))}",
            "clips": len(rows),
            "minutes": float(numeric(rows["motion_seconds"]).sum()) / 60,
            "splits": [int((rows["split"] == split).sum()) for split in SPLITS],
            "languages": ", ".join(sorted(set(rows["language"]))),
            "textgrid": int(rows["has_textgrid"].sum()),
            "semantics": int(rows["has_semantics"].sum()),
            "left_out": int(rows["clip_id"].isin(left_out).sum()),
        }
        for speaker, rows in table.groupby("speaker")
    ]
