"""Flagged clips: clips with critical or quarantine findings, and the figures that show why."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from mambatalk.clips.store import ClipStore
from mambatalk.quality.evidence import evidence_figures
from mambatalk.quality.figures import Figure
from mambatalk.quality.rule import Rule

MAX_ILLUSTRATED: Final = 24
"""Largest number of clips with figures; a table lists the others."""


@dataclass(frozen=True)
class FlaggedClip:
    """A clip with at least one critical or quarantine finding."""

    row: dict[str, Any]
    """Its row of the manifest."""
    findings: list[Any]
    """Its critical and quarantine findings, with the columns `rules.COLUMNS`."""
    figures: list[Figure]


def illustrate_flagged_clips(
    store: ClipStore, findings: pd.DataFrame, rules: Sequence[Rule]
) -> list[FlaggedClip]:
    """Draw figures for at most `MAX_ILLUSTRATED` flagged clips.

    The first clips of every rule come before the second ones, so that one frequent fault does not
    hide the others.

    Args:
        store: Clips and their manifest.
        findings: Result of `rules.apply_rules`.
        rules: The rules that were applied.

    Returns:
        The clips with their figures, sorted by clip id.

    """
    severe = findings[findings["severity"] != "warning"]
    rank_within_rule = severe.groupby("rule").cumcount()
    by_rank = severe.loc[rank_within_rule.sort_values(kind="stable").index, "clip_id"]
    chosen = by_rank.drop_duplicates()[:MAX_ILLUSTRATED]
    return [
        _illustrate(store, str(clip_id), severe[severe["clip_id"] == clip_id], rules)
        for clip_id in sorted(chosen)
    ]


def _illustrate(
    store: ClipStore, clip_id: str, findings: pd.DataFrame, rules: Sequence[Rule]
) -> FlaggedClip:
    manifest = store.manifest
    row = manifest[manifest["clip_id"] == clip_id].iloc[0].to_dict()
    clip = store.read(clip_id) if pd.isna(row["fault"]) else None
    names = set(findings["rule"])
    broken = [rule for rule in rules if rule.name in names]
    return FlaggedClip(
        row=row,
        findings=list(findings.itertuples()),
        figures=evidence_figures(row, clip, broken, manifest),
    )
