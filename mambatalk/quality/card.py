"""The data card: origin, content, and known and unknown faults of a corpus.

The page of the report and the Markdown file beside it show the same texts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Final

import pandas as pd

from mambatalk.corpus.layout import SPLITS
from mambatalk.corpus.recordings import EMOTIONS, acted_emotion
from mambatalk.quality.measures import to_numbers
from mambatalk.quality.rules.limits import CANNOT_SEE
from mambatalk.reporting.text import count_of

if TYPE_CHECKING:
    from mambatalk.quality.pages.report import QualityReport

DATA_CARD: Final = "DATA_CARD.md"
"""Name of the Markdown file."""
NOT_STATED: Final = "not stated; `mambatalk snapshot` can state it"


@dataclass(frozen=True)
class CardSection:
    """A title, and facts or sentences."""

    title: str
    facts: list[tuple[str, str]]
    """Term and value; the term is empty for a sentence."""


def data_card(report: "QualityReport") -> list[CardSection]:
    """Return the data card of a checked corpus.

    Args:
        report: The report. Without a snapshot, the origin is not stated.

    """
    return [
        CardSection("Origin", _origin(report.corpus, report.snapshot)),
        CardSection("Content", _content(report.store.manifest)),
        CardSection("Known faults", _known_faults(report)),
        CardSection("What the checks cannot see", [("", limit) for limit in CANNOT_SEE]),
    ]


def write_markdown(card: list[CardSection], title: str) -> str:
    """Return a data card as Markdown.

    Args:
        card: Result of `data_card`.
        title: Name of the corpus.

    """
    lines = [f"# Data card: {_escaped(title)}"]
    for section in card:
        lines += ["", f"## {section.title}", ""]
        for term, value in section.facts:
            lines.append(f"- **{_escaped(term)}:** {_escaped(value)}" if term else f"- {value}")
    return "\n".join(lines) + "\n"


def corpus_facts(table: pd.DataFrame) -> dict[str, Any]:
    """Return counts of a manifest: clips, hours, speakers, languages, splits and kinds of files."""
    speakers = sorted(set(zip(table["speaker"], table["name"], strict=True)))
    return {
        "clips": len(table),
        "hours": float(to_numbers(table["motion_seconds"]).sum()) / 3600,
        "speakers": [f"{speaker} {name}" for speaker, name in speakers],
        "languages": table["language"].value_counts().to_dict(),
        "splits": {split: int((table["split"] == split).sum()) for split in SPLITS},
        "without_split": int(table["split"].isna().sum()),
        "unreadable": int(table["fault"].notna().sum()),
        "textgrid": int(table["has_textgrid"].sum()),
        "semantics": int(table["has_semantics"].sum()),
    }


def format_hours(hours: float) -> str:
    """Return a duration in hours, or in minutes if it is short."""
    return f"{hours * 60:.1f} minutes" if hours < 1 else f"{hours:.1f} hours"


def _origin(corpus: str, snapshot: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    origin = snapshot.get("origin", {}) if snapshot else {}
    facts = [
        ("Name", origin.get("name", NOT_STATED)),
        ("Licence", origin.get("licence", NOT_STATED)),
        ("Source", origin.get("url") or origin.get("method") or NOT_STATED),
    ]
    if origin.get("url") and origin.get("method"):
        facts.append(("How it was made", origin["method"]))
    if "citation" in origin:
        facts.append(("Citation", origin["citation"]))
    taken = f"sha256 {snapshot['digest']}" if snapshot else "none was taken of these files"
    return [*facts, ("Checked", corpus), ("Snapshot", taken)]


def _content(table: pd.DataFrame) -> list[tuple[str, str]]:
    facts = corpus_facts(table)
    conversation = table["recording_type"] % 2 == 1
    types = {"speech": int((~conversation).sum()), "conversation": int(conversation.sum())}
    emotions = dict.fromkeys(EMOTIONS, 0)
    for recording_type, number in zip(table["recording_type"], table["start"], strict=True):
        emotions[EMOTIONS[acted_emotion(recording_type, number)]] += 1
    splits = dict(facts["splits"])
    splits["no split"] = facts["without_split"]
    speakers = facts["speakers"]
    return [
        ("Clips", f"{facts['clips']:,}, {facts['unreadable']:,} of them unreadable"),
        ("Motion", format_hours(facts["hours"])),
        ("Speakers", f"{len(speakers)}: {', '.join(speakers)}"),
        ("Splits", _counts(splits)),
        ("Languages", _counts(facts["languages"])),
        ("Types, by clip id", _counts(types)),
        ("Emotions, by clip id", _counts(emotions)),
        ("Words and phones", f"{facts['textgrid']:,} clips with a TextGrid"),
        ("Semantic labels", f"{facts['semantics']:,} clips"),
    ]


def _known_faults(report: "QualityReport") -> list[tuple[str, str]]:
    verdict = report.verdict
    facts = [
        ("Accepted for training", count_of(len(verdict["accepted"]), "clip")),
        ("Quarantined", count_of(len(verdict["quarantined"]), "clip")),
    ]
    if verdict["critical"]:
        facts.append(("Critical", f"{len(verdict['critical'])}; the pipeline stops"))
    applied = [one.decision for one in verdict["decisions"] if one.status == "applied"]
    if applied:
        facts.append(("Decided by a person", count_of(len(applied), "clip")))
    counts = report.findings.groupby("rule")["clip_id"].nunique()
    for rule in report.rules:
        if rule.name in counts:
            clips = count_of(int(counts[rule.name]), "clip")
            name = rule.name.replace("_", " ").capitalize()
            facts.append((name, f"{clips} ({rule.severity}): {rule.reason}"))
    if not len(report.findings):
        facts.append(("Findings", f"none; no clip breaks any of {len(report.rules)} rules"))
    return facts


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count) or "none"


def _escaped(text: str) -> str:
    """Escape what Markdown would read as HTML or as a link; names come from files."""
    return escape(text, quote=False).replace("[", r"\[")
