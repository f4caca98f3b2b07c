"""Faults that only features show: sliding feet, a floor elsewhere, words that are none of the
vocabulary's.
"""

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
from mambatalk.quality.rules import apply_rules, feature_rules
from tests.faults.damage import Corpus, turning
from tests.helpers.stand_in_body import stand_in_body

TakeIn = Callable[[Path], ClipStore]
CLIP = "3_celia_0_1_1"
"""Of the test split."""
BOUNDS = CheckFeaturesConfig(max_unknown_words=0.5, max_silent_share=0.9, max_floor_offset=0.3)
REAL = Path(__file__).parents[2].parent / "shared" / "beatx_clips" / "beat_english_v2.0.0"


def slide(corpus: Corpus) -> None:
    """The body glides to and fro over the floor while its feet stand."""
    glide = 0.25 * np.sin(np.arange(corpus.frames(CLIP)) / 12)
    corpus.add(CLIP, "trans", glide[:, None] * (1, 0, 0))


def tremble(corpus: Corpus) -> None:
    corpus.add(CLIP, "trans", 0.02 * (-1) ** np.arange(corpus.frames(CLIP))[:, None] * (0, 1, 0))


def foreign(words: list[Interval]) -> list[Interval]:
    return [Interval(0, words[-1].end, "zzyzx")]


PLANTED: dict[str, tuple[Callable[[Corpus], Any], set[str]]] = {
    "feet that slide": (slide, {"skating"}),
    "a body that trembles": (tremble, {"contact"}),
    "a body that floats": (lambda c: c.add(CLIP, "trans", (0, 0.8, 0)), {"floor"}),
    "a floor that sinks": (
        lambda c: c.add(CLIP, "trans", turning(c.frames(CLIP), -0.25)[:, None] * np.eye(3)[1]),
        {"floor_drift"},
    ),
    "words that training never heard": (lambda c: c.words(CLIP, foreign), {"known_words"}),
    "hardly any sound": (
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
def test_a_planted_fault_is_found_by_its_rule(
    plant: Callable[[Corpus], Any], rules: set[str], corpus: Corpus, take_in: TakeIn, tmp_path: Path
) -> None:
    plant(corpus)
    assert found(take_in(corpus.root), tmp_path / "features") == {CLIP: rules}


def test_a_clean_sample_raises_no_alarm(sample: Path, take_in: TakeIn, tmp_path: Path) -> None:
    assert found(take_in(sample), tmp_path / "features") == {}


@pytest.mark.skipif(not REAL.is_dir(), reason="no real clips beside the checkout")
def test_real_clips_raise_one_alarm(take_in: TakeIn, tmp_path: Path) -> None:
    """With one clip to learn words from, most of the other's are unknown."""
    assert found(take_in(REAL), tmp_path / "features") == {"2_scott_0_1_1": {"known_words"}}
