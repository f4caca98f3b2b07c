"""Faults found in the features: sliding feet, a wrong floor, words outside the vocabulary."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from mambatalk.clips.store import ClipStore
from mambatalk.config import CheckFeaturesConfig, FeaturesConfig
from mambatalk.corpus.textgrid import Interval
from mambatalk.features.build import build_features
from mambatalk.fidelity import CORRECTED
from mambatalk.quality.rules.catalogue import feature_rules
from mambatalk.quality.rules.verdict import apply_rules
from tests.faults.damage import Corpus, turning
from tests.helpers.stand_in_body import stand_in_body

IngestCorpus = Callable[[Path], ClipStore]
CLIP = "3_celia_0_1_1"
"""A clip of the test split."""
BOUNDS = CheckFeaturesConfig(max_unknown_words=0.5, max_silent_share=0.9, max_floor_offset=0.3)
REAL = Path(__file__).parents[2].parent / "shared" / "beatx_clips" / "beat_english_v2.0.0"


def slide(corpus: Corpus) -> None:
    """Move the body back and forth while its feet do not move."""
    glide = 0.25 * np.sin(np.arange(corpus.frames(CLIP)) / 12)
    corpus.add(CLIP, "trans", glide[:, None] * (1, 0, 0))


def tremble(corpus: Corpus) -> None:
    corpus.add(CLIP, "trans", 0.02 * (-1) ** np.arange(corpus.frames(CLIP))[:, None] * (0, 1, 0))


def unknown_word(words: list[Interval]) -> list[Interval]:
    return [Interval(0, words[-1].end, "zzyzx")]


PLANTED: dict[str, tuple[Callable[[Corpus], Any], set[str]]] = {
    "feet that slide": (slide, {"skating"}),
    "a body that trembles": (tremble, {"contact"}),
    "a body that floats": (lambda c: c.add(CLIP, "trans", (0, 0.8, 0)), {"floor"}),
    "a floor that sinks": (
        lambda c: c.add(CLIP, "trans", turning(c.frames(CLIP), -0.25)[:, None] * np.eye(3)[1]),
        {"floor_drift"},
    ),
    "words that are not in the training split": (
        lambda c: c.words(CLIP, unknown_word),
        {"known_words"},
    ),
    "hardly any audio": (
        lambda c: c.wave(
            CLIP, lambda samples: np.concatenate([samples[:16_000], 0 * samples[16_000:]])
        ),
        {"speech"},
    ),
}


def found(store: ClipStore, out: Path) -> dict[str, set[str]]:
    out.mkdir()
    build_features(
        store,
        list(store.manifest["clip_id"]),
        out,
        body=stand_in_body(),
        rules=CORRECTED,
        config=FeaturesConfig(ctc_model=None, validation_share=0.1, clips_per_shard=4),
    )
    table = pq.read_table(out / "clips.parquet").drop(["audio", "betas", "ctc"]).to_pandas()
    rows = apply_rules(table, feature_rules(BOUNDS))
    return {str(clip): set(group["rule"]) for clip, group in rows.groupby("clip_id")}


@pytest.mark.parametrize(("plant", "rules"), PLANTED.values(), ids=PLANTED)
def test_a_fault_is_found_by_its_rule(
    plant: Callable[[Corpus], Any],
    rules: set[str],
    corpus: Corpus,
    ingest_corpus: IngestCorpus,
    tmp_path: Path,
) -> None:
    plant(corpus)
    assert found(ingest_corpus(corpus.root), tmp_path / "features") == {CLIP: rules}


def test_an_undamaged_sample_has_no_findings(
    sample: Path, ingest_corpus: IngestCorpus, tmp_path: Path
) -> None:
    assert found(ingest_corpus(sample), tmp_path / "features") == {}


@pytest.mark.skipif(not REAL.is_dir(), reason="no real clips beside the checkout")
def test_clips_of_beatx_have_one_finding(ingest_corpus: IngestCorpus, tmp_path: Path) -> None:
    """With one training clip, most words of the other clip are unknown."""
    assert found(ingest_corpus(REAL), tmp_path / "features") == {"2_scott_0_1_1": {"known_words"}}
