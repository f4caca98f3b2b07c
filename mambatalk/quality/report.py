"""One look at a corpus: its clips, the rules they are held against, and what came of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mambatalk.clips.store import ClipStore
from mambatalk.config import CheckClipsConfig
from mambatalk.quality.comparison import Comparison
from mambatalk.quality.rules import Rule, apply_rules, clip_rules, verdict


@dataclass(frozen=True, kw_only=True)
class Look:
    """One look at a corpus."""

    corpus: str
    """What the reader knows it by."""
    store: ClipStore
    rules: Sequence[Rule]
    findings: pd.DataFrame
    """What `checks.apply_rules` found."""
    verdict: Mapping[str, Any]
    """What `checks.verdict` said."""
    strays: Sequence[str] = ()
    """Files beside the clips' that belong to none."""
    docs: str | None = None
    """Address of Great Expectations' page, as seen from this one."""
    comparison: Comparison | None = None
    """With an earlier look."""


def look_at(
    store: ClipStore, bounds: CheckClipsConfig, *, corpus: str, strays: Sequence[str]
) -> Look:
    """Hold every clip of a store against the rules."""
    rules = clip_rules(bounds)
    findings = apply_rules(store.manifest, rules)
    return Look(
        corpus=corpus,
        store=store,
        rules=rules,
        findings=findings,
        strays=strays,
        verdict=verdict(store.manifest, findings, max_quarantined=bounds.max_quarantined),
    )
