"""The content of a data-quality report: clips, rules, findings and verdict."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from mambatalk.clips.store import ClipSource
from mambatalk.config import CheckClipsConfig
from mambatalk.corpus.layout import FOLDERS, parse_clip_id
from mambatalk.errors import InputError
from mambatalk.quality.decisions import Decision
from mambatalk.quality.rules.catalogue import clip_rules
from mambatalk.quality.rules.rule import Rule
from mambatalk.quality.rules.verdict import apply_rules, verdict

if TYPE_CHECKING:
    # At run time these would import SciPy and Matplotlib, which a check without a page can omit.
    from mambatalk.quality.comparison import Comparison
    from mambatalk.quality.pages.flagged_clips import StillDrawer


@dataclass(frozen=True, kw_only=True)
class QualityReport:
    """The result of checking a corpus, as input for the HTML page."""

    corpus: str
    """Name of the corpus for the reader, usually its path."""
    store: ClipSource
    rules: Sequence[Rule]
    findings: pd.DataFrame
    """Result of `rules.verdict.apply_rules`."""
    verdict: Mapping[str, Any]
    """Result of `rules.verdict.verdict`."""
    unmatched_files: Sequence[str] = ()
    """Result of `find_unmatched_files`."""
    data_docs: str | None = None
    """Link to the Great Expectations page, relative to this one."""
    comparison: "Comparison | None" = None
    """Comparison with an earlier snapshot."""
    snapshot: Mapping[str, Any] | None = None
    """Result of `corpus.snapshot.read_snapshot`; its origin is on the data card."""
    draw_stills: "StillDrawer | None" = None
    """Draws the motion of flagged clips; None for a report without stills."""


def build_report(
    store: ClipSource,
    bounds: CheckClipsConfig,
    *,
    corpus: str,
    unmatched_files: Sequence[str] = (),
    decisions: Sequence[Decision] = (),
    draw_stills: "StillDrawer | None" = None,
) -> QualityReport:
    """Check every clip of a store against the rules.

    Args:
        store: Clips to check.
        bounds: Section `check_clips` of the configuration.
        corpus: Name of the corpus for the reader.
        unmatched_files: Files of the corpus that belong to no clip.
        decisions: What a person has decided about single clips.
        draw_stills: Draws the motion of flagged clips. If None, the report has no stills.

    """
    rules = clip_rules(bounds)
    findings = apply_rules(store.manifest, rules)
    return QualityReport(
        corpus=corpus,
        store=store,
        rules=rules,
        findings=findings,
        verdict=verdict(
            store.manifest,
            findings,
            max_quarantined=bounds.max_quarantined,
            decisions=decisions,
        ),
        unmatched_files=unmatched_files,
        draw_stills=draw_stills,
    )


def find_unmatched_files(paths: Iterable[str]) -> list[str]:
    """Return the files in a corpus' folders that belong to no clip.

    Ingest ignores files whose name is not a clip id with the suffix of its folder. Listing them
    shows misspelt names that would otherwise go unnoticed.

    Args:
        paths: Paths of a snapshot, relative to the root of the corpus.

    """
    suffixes = dict(FOLDERS.values())
    unmatched = []
    for path in paths:
        folder, _, name = path.rpartition("/")
        suffix = suffixes.get(folder)
        if suffix and not (name.endswith(suffix) and _is_clip_id(name.removesuffix(suffix))):
            unmatched.append(path)
    return unmatched


def _is_clip_id(text: str) -> bool:
    try:
        parse_clip_id(text)
    except InputError:
        return False
    return True
