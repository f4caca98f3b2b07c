"""A small sample to damage; its cached clip store makes reading damaged copies fast."""

import shutil
from collections.abc import Callable, Collection
from pathlib import Path

import pandas as pd
import pytest

from mambatalk.clips.ingest import ingest
from mambatalk.clips.store import ClipSource, ClipStore
from mambatalk.corpus.snapshot import write_snapshot
from mambatalk.quality.pages.evidence import evidence_figures
from mambatalk.quality.pages.figures import Figure
from mambatalk.quality.rules.catalogue import STANDARD_BOUNDS, clip_rules
from mambatalk.quality.rules.verdict import apply_rules
from mambatalk.sample.build import write_sample
from tests.faults.damage import Corpus

Findings = dict[str, set[str]]
"""Names of the violated rules, by clip."""


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip(
        "espeakng_loader", reason="eSpeak NG speaks the sample: pip install 'mambatalk[sample]'"
    )
    root = tmp_path_factory.mktemp("faults") / "corpus"
    write_sample(root, hours=0.06, speakers=3, seed=5, workers=1)
    return root


@pytest.fixture
def corpus(sample: Path, tmp_path: Path) -> Corpus:
    """A copy of the sample to damage."""
    return Corpus(shutil.copytree(sample, tmp_path / "corpus"))


@pytest.fixture(scope="session")
def ingest_corpus(
    sample: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Path], ClipStore]:
    """Return a function that ingests a corpus as the stages do.

    Clips that a damaged copy shares with the sample come from a cache.
    """
    work = tmp_path_factory.mktemp("stores")

    def run(root: Path) -> ClipStore:
        out = Path(work / f"{len(list(work.iterdir()))}")
        (out / "clips").mkdir(parents=True)
        write_snapshot(root, out / "snapshot.json")
        ingest(
            root,
            out / "snapshot.json",
            out / "clips",
            speakers=[],
            clips_per_shard=4,
            cache=work / "cache",
        )
        return ClipStore(out / "clips")

    run(sample)
    return run


def figures_of(store: ClipSource, clip_id: str, rules: Collection[str]) -> list[Figure]:
    """Draw the figures that a report shows for some broken rules of a clip.

    A figure that marks the clip among all others shows that a value is unusual, but not the fault.
    """
    row = store.manifest.set_index("clip_id", drop=False).loc[clip_id].to_dict()
    clip = None if row["fault"] else store.read(clip_id)
    broken = [rule for rule in clip_rules(STANDARD_BOUNDS) if rule.name in rules]
    figures = evidence_figures(row, clip, broken, store)
    return [figure for figure in figures if "(triangle)" not in figure.caption]


def findings(table: pd.DataFrame) -> Findings:
    rows = apply_rules(table, clip_rules(STANDARD_BOUNDS))
    return {str(clip): set(group["rule"]) for clip, group in rows.groupby("clip_id")}
