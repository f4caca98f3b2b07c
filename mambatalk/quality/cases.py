"""Clips that rules act on: which, why, and the pictures that show it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from mambatalk.clips.store import ClipStore
from mambatalk.quality.evidence import Shown, evidence
from mambatalk.quality.rules import Rule

PICTURED: Final = 24
"""Clips shown with pictures; a table names all."""


@dataclass(frozen=True)
class Case:
    """One clip that a rule acts on."""

    facts: dict[str, Any]
    """Its row of the manifest."""
    findings: list[Any]
    """Rows of checks.COLUMNS."""
    shown: list[Shown]


def cases(store: ClipStore, findings: pd.DataFrame, rules: Sequence[Rule]) -> list[Case]:
    """The clips of critical and quarantine findings, at most `PICTURED`, so chosen that every rule
    has its turn.
    """
    acting = findings[findings["severity"] != "warning"]
    turn = acting.groupby("rule").cumcount()
    chosen = acting.loc[turn.sort_values(kind="stable").index, "clip_id"].drop_duplicates()[
        :PICTURED
    ]
    return [
        _case(store, str(clip), acting[acting["clip_id"] == clip], rules) for clip in sorted(chosen)
    ]


def _case(store: ClipStore, clip_id: str, findings: pd.DataFrame, rules: Sequence[Rule]) -> Case:
    table = store.manifest
    row = table[table["clip_id"] == clip_id].iloc[0].to_dict()
    clip = store.read(clip_id) if pd.isna(row["fault"]) else None
    broken = [rule for rule in rules if rule.name in set(findings["rule"])]
    return Case(row, list(findings.itertuples()), evidence(row, clip, broken, table))
