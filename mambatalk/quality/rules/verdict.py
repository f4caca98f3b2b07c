"""What breaks the rules, which clips are accepted, and whether the pipeline may continue."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import pandas as pd

from mambatalk.quality.decisions import Decision, judge_decisions
from mambatalk.quality.rules.rule import NOTHING, Rule
from mambatalk.reporting.text import count_of

COLUMNS: Final = ("clip_id", "rule", "severity", "column", "found", "expected", "reason")
"""Columns of the table of findings."""


def apply_rules(table: pd.DataFrame, rules: Iterable[Rule]) -> pd.DataFrame:
    """Apply rules to a table with one row per clip.

    Args:
        table: One row per clip, with a column `clip_id`.
        rules: Rules whose column is missing from the table are skipped.

    Returns:
        One row per finding, with the columns `COLUMNS`.

    """
    findings = []
    for rule in rules:
        if rule.column not in table:
            continue
        broken = table[rule.violations(table[rule.column])]
        moments = broken[rule.when] if rule.when in table else [None] * len(broken)
        for clip_id, value, when in zip(
            broken["clip_id"], broken[rule.column], moments, strict=True
        ):
            findings.append(
                (
                    clip_id,
                    rule.name,
                    rule.severity,
                    rule.column,
                    _format_found(value, when),
                    rule.expected,
                    rule.sentence,
                )
            )
    return pd.DataFrame(findings, columns=list(COLUMNS))


def verdict(
    table: pd.DataFrame,
    findings: pd.DataFrame,
    *,
    max_quarantined: float,
    decisions: Sequence[Decision] = (),
) -> dict[str, Any]:
    """Decide which clips are accepted and whether the pipeline may continue.

    Args:
        table: One row per clip, with columns `clip_id` and `split`.
        findings: Result of `apply_rules`.
        max_quarantined: Largest share of clips that the rules may quarantine, 0 to 1.
        decisions: What a person has decided. They override quarantine, not critical findings.

    Returns:
        `ok`, whether no finding is critical; `accepted`, clip ids in order; `quarantined`, reasons
        by clip id; `critical`, reasons to stop; `warnings`, their number; `decisions`, a
        `JudgedDecision` for each clip that a person has decided about.

    """
    quarantine_findings = findings[findings["severity"] == "quarantine"]
    quarantined: dict[str, list[str]] = {}
    # One pass over the rows: a group per clip took half of the time of a check of known clips.
    for row in quarantine_findings.sort_values("clip_id", kind="stable").itertuples():
        quarantined.setdefault(str(row.clip_id), []).append(_describe(row))
    judged = judge_decisions(table, decisions)
    applied = [one.decision for one in judged.values() if one.status == "applied"]
    for decision in applied:
        quarantined.pop(decision.clip_id, None)
    by_rules = len(quarantined)
    quarantined |= {one.clip_id: [str(one)] for one in applied if one.decision == "reject"}
    accepted = [clip for clip in table["clip_id"] if clip not in quarantined]

    critical_findings = findings[findings["severity"] == "critical"]
    critical = [f"{row.clip_id}: {_describe(row)}" for row in critical_findings.itertuples()]
    splits = set(table.loc[table["clip_id"].isin(accepted), "split"])
    critical += [
        f"split {split}: no clip is left" for split in ("train", "test") if split not in splits
    ]
    if by_rules / len(table) > max_quarantined:
        critical.append(
            f"{by_rules:,} of {count_of(len(table), 'clip')} quarantined; "
            f"at most {max_quarantined:.0%} may be"
        )
    return {
        "ok": not critical,
        "accepted": accepted,
        "quarantined": quarantined,
        "critical": critical,
        "warnings": int((findings["severity"] == "warning").sum()),
        "decisions": list(judged.values()),
    }


def _describe(finding: Any) -> str:
    """Describe one row of the findings in a sentence."""
    if finding.expected == NOTHING:
        return f"{finding.rule}: {finding.found} ({finding.reason})"
    expected = f"expected {finding.expected}, found {finding.found}"
    return f"{finding.rule}: {expected} ({finding.reason})"


def _format_found(value: Any, when: Any) -> str:
    """Return the value that breaks a rule, and when in the clip it does if that is known."""
    found = _format_value(value)
    return found if pd.isna(when) else f"{found} at {when}"


def _format_value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
