"""Render a data-quality report as one HTML page that loads nothing from the network."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pandas as pd

from mambatalk.console import Progress
from mambatalk.corpus.layout import SPLITS
from mambatalk.executors import FailedItem, open_executor
from mambatalk.files import atomic_file
from mambatalk.quality.card import (
    DATA_CARD,
    corpus_facts,
    data_card,
    format_hours,
    write_markdown,
)
from mambatalk.quality.comparison import summarize_drift
from mambatalk.quality.drift import FALSE_DISCOVERY_RATE, LARGE, MIN_CLIPS, MODERATE
from mambatalk.quality.measures import add_derived_columns, to_numbers
from mambatalk.quality.pages.distributions import plot_distributions
from mambatalk.quality.pages.flagged_clips import (
    FlaggedClip,
    illustrate_clips,
    order_flagged_clips,
)
from mambatalk.quality.pages.report import QualityReport
from mambatalk.quality.rules.rule import Rule
from mambatalk.reporting.html import render
from mambatalk.reporting.text import count_of

log = logging.getLogger(__name__)

TEMPLATE: Final = Path(__file__).with_name("page.html")
CLIPS_TEMPLATE: Final = Path(__file__).with_name("clips_page.html")
SEVERITIES: Final = ("critical", "quarantine", "warning")
CLIPS_PER_PAGE: Final = 24
FINDINGS_PER_PAGE: Final = 100
"""Each finding may have a figure of 10 kB, and the first page also shows the whole corpus."""
MAX_RULES_NAMED: Final = 5
"""Rules named in a row of the table of flagged clips, which may have thousands of rows."""
MIN_PARALLEL_PAGES: Final = 4
"""Drawing fewer pages takes less time than starting processes, which import PyTorch."""
MAX_WARNING_ROWS: Final = 300
"""Warnings in the table of the first page; the pages of the clips have all of them."""


def write_quality_page(
    path: Path, report: QualityReport, *, workers: int = 1, progress: Progress | None = None
) -> None:
    """Write the first page, and beside it the data card and pages with the other flagged clips.

    Their bytes depend only on the report. Each file is written atomically, the first page last.

    Args:
        path: The first page. The others are `clips-002.html` and so on in the same folder, where
            such pages of an earlier report are deleted.
        report: The report.
        workers: Number of processes that draw the figures of many pages, unless a Dask cluster is
            configured.
        progress: Called after each page.

    """
    for old in path.parent.glob("clips-[0-9]*.html"):
        old.unlink()
    clip_ids = order_flagged_clips(report.findings)
    parts = _share_out(clip_ids, report.findings)
    pages = [path.name, *(f"clips-{number:03d}.html" for number in range(2, len(parts) + 1))]
    first: list[FlaggedClip] = []
    # Without what the figures do not show, less is sent to the processes.
    shown = replace(report, comparison=None, snapshot=None)
    with open_executor(workers if len(parts) >= MIN_PARALLEL_PAGES else 1) as executor:
        drawn = executor.map(_draw_part, [(shown, members) for members in parts])
        for number, (members, clips) in enumerate(zip(parts, drawn, strict=True), start=1):
            if isinstance(clips, FailedItem):
                log.warning("%s: figures could not be drawn: %s", pages[number - 1], clips.reason)
                flagged = _flagged(report, members, figures=False)
            else:
                flagged = clips
            if number == 1:
                first = flagged
            else:
                values = {
                    "corpus": report.corpus,
                    "number": number,
                    "pages": pages,
                    "clips": flagged,
                }
                _write(path.with_name(pages[number - 1]), render(CLIPS_TEMPLATE, values))
            if progress is not None:
                progress(number, len(parts))
    page_of = {
        clip_id: "" if page == path.name else page
        for page, members in zip(pages, parts, strict=True)
        for clip_id in members
    }
    card = data_card(report)
    title = (report.snapshot or {}).get("origin", {}).get("name", report.corpus)
    _write(path.with_name(DATA_CARD), write_markdown(card, title))
    values = page_context(report) | {
        "card": card,
        "pages": pages,
        "flagged": first,
        "flagged_rows": _flagged_rows(report.findings, page_of),
    }
    _write(path, render(TEMPLATE, values))


def page_context(report: QualityReport) -> dict[str, Any]:
    """Return the variables of the first page's template, without those of the flagged clips."""
    table = add_derived_columns(report.store.manifest)
    findings = report.findings
    is_warning = findings["severity"] == "warning"
    quarantined = sorted(report.verdict["quarantined"])
    speaker_names = table.groupby("speaker")["name"].first()
    facts = corpus_facts(table)
    return {
        "report": report,
        "headline": headline(report),
        "facts": facts,
        "motion": format_hours(facts["hours"]),
        "quarantined": quarantined,
        "critical": report.verdict["critical"],
        "rules": _count_violations(report.rules, findings, len(table)),
        "has_severe": bool((~is_warning).any()),
        "warnings": list(findings[is_warning].itertuples()),
        "max_rows": MAX_WARNING_ROWS,
        "distributions": plot_distributions(table, report.rules, quarantined),
        "speakers": _speaker_rows(table, quarantined),
        "speaker_names": {str(id_): f"{id_} {name}" for id_, name in speaker_names.items()},
        "splits": SPLITS,
        "drift_summary": summarize_drift(report.comparison) if report.comparison else "",
        "thresholds": {
            "moderate": MODERATE,
            "large": LARGE,
            "false_discoveries": FALSE_DISCOVERY_RATE,
            "min_clips": MIN_CLIPS,
        },
    }


def _share_out(clip_ids: Sequence[str], findings: pd.DataFrame) -> list[list[str]]:
    """Return the clips of each page; there is one page at least."""
    counts = findings["clip_id"].value_counts()
    parts: list[list[str]] = [[]]
    shown = 0
    for clip_id in clip_ids:
        count = int(counts[clip_id])
        is_full = len(parts[-1]) == CLIPS_PER_PAGE or shown + count > FINDINGS_PER_PAGE
        if parts[-1] and is_full:
            parts.append([])
            shown = 0
        parts[-1].append(clip_id)
        shown += count
    return parts


def _draw_part(part: tuple[QualityReport, Sequence[str]]) -> list[FlaggedClip]:
    """Return the clips of a page with figures; it may run in another process."""
    report, clip_ids = part
    return _flagged(report, clip_ids, figures=True)


def _flagged(report: QualityReport, clip_ids: Sequence[str], *, figures: bool) -> list[FlaggedClip]:
    clips = illustrate_clips(
        report.store,
        clip_ids,
        report.findings,
        report.rules,
        report.verdict,
        draw_stills=report.draw_stills,
        figures=figures,
    )
    return list(clips)


def _flagged_rows(
    findings: pd.DataFrame, page_of: Mapping[str, str]
) -> list[tuple[str, str, str, str]]:
    """Return id, severity, rules and page of each flagged clip, in the order of the pages."""
    by_severity = findings.iloc[findings["severity"].map(SEVERITIES.index).argsort(kind="stable")]
    of_clip = {str(clip_id): rows for clip_id, rows in by_severity.groupby("clip_id")}
    table = []
    for clip_id, page in page_of.items():
        rows = of_clip[clip_id]
        severity = min(rows["severity"], key=SEVERITIES.index)
        rules = [str(name).replace("_", " ") for name in rows["rule"].unique()]
        names = ", ".join(rules[:MAX_RULES_NAMED])
        if len(rules) > MAX_RULES_NAMED:
            names += f" and {len(rules) - MAX_RULES_NAMED} more"
        table.append((clip_id, severity, names, page))
    return table


def _write(path: Path, text: str) -> None:
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def headline(report: QualityReport) -> tuple[str, str]:
    """Return the verdict in a few words, and a sentence that explains it."""
    clips = len(report.store.manifest)
    quarantined = len(report.verdict["quarantined"])
    critical = len(report.verdict["critical"])
    count = report.verdict["warnings"]
    warnings = count_of(count, "warning") if count else "no warnings"
    if critical:
        return (
            "Not ready for training",
            f"{count_of(critical, 'critical finding')} would stop the pipeline; "
            f"{quarantined:,} of {count_of(clips, 'clip')} would be quarantined; {warnings}.",
        )
    if quarantined:
        return (
            f"{quarantined:,} of {count_of(clips, 'clip')} quarantined",
            f"{count_of(clips - quarantined, 'clip')} accepted; {warnings}.",
        )
    return (
        "The clip is accepted" if clips == 1 else f"All {clips:,} clips accepted",
        f"{warnings.capitalize()}.",
    )


def _count_violations(
    rules: Sequence[Rule], findings: pd.DataFrame, clips: int
) -> list[tuple[Rule, int, float]]:
    """Return every rule with the number and share of clips that break it.

    Broken rules come first, by severity and by number of clips.
    """
    counts = findings.groupby("rule")["clip_id"].nunique()
    counted = [(rule, int(counts.get(rule.name, 0))) for rule in rules]
    counted.sort(key=lambda pair: (pair[1] == 0, SEVERITIES.index(pair[0].severity), -pair[1]))
    return [(rule, count, count / clips) for rule, count in counted]


def _speaker_rows(table: pd.DataFrame, quarantined: Sequence[str]) -> list[dict[str, Any]]:
    rows = []
    for speaker, clips in table.groupby("speaker"):
        names = " / ".join(sorted(set(clips["name"])))
        row = {
            "speaker": f"{speaker} {names}",
            "clips": len(clips),
            "minutes": float(to_numbers(clips["motion_seconds"]).sum()) / 60,
            "splits": [int((clips["split"] == split).sum()) for split in SPLITS],
            "languages": ", ".join(sorted(set(clips["language"]))),
            "textgrid": int(clips["has_textgrid"].sum()),
            "semantics": int(clips["has_semantics"].sum()),
            "quarantined": int(clips["clip_id"].isin(quarantined).sum()),
        }
        rows.append(row)
    return rows
