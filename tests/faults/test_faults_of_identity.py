"""Near duplicates over splits, and clips with the voice or the body of another speaker."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soxr

from mambatalk.clips.store import ClipStore
from mambatalk.quality.rules.catalogue import STANDARD_BOUNDS, clip_rules
from mambatalk.quality.rules.verdict import apply_rules
from tests.faults.conftest import figures_of, findings
from tests.faults.damage import RATE, Corpus
from tests.faults.faults_in_time import each_frame, played
from tests.faults.test_faults_in_time import REAL, needs_real_clips

IngestCorpus = Callable[[Path], ClipStore]
FOREIGN = {"voice_of_speaker", "same_voice", "body_of_speaker"}
"""Rules that a clip of another speaker breaks."""
TRAINED, COPY = "3_celia_0_4_4", "3_celia_0_9_9"


def one_bit(corpus: Corpus, clip: str) -> None:
    """Change the last bit of every number and every sample."""
    each_frame(corpus, clip, lambda values: np.nextafter(values, np.float32(9)))
    noise = np.random.default_rng(0).integers(0, 2, 10_000_000)
    corpus.wave(clip, lambda samples: samples + noise[: len(samples)] / 32_768)


def float16(corpus: Corpus, clip: str) -> None:
    each_frame(corpus, clip, lambda values: values.astype(np.float16))
    corpus.wave(clip, lambda samples: samples.astype(np.float16).astype(np.float32))


def cut_again(corpus: Corpus, clip: str) -> None:
    """Cut off the first tenth of a second, between two frames."""
    each_frame(corpus, clip, lambda values: 0.5 * (values[3:] + values[2:-1]))
    corpus.wave(clip, lambda samples: samples[RATE // 12 :])


def one_per_cent_slower(corpus: Corpus, clip: str) -> None:
    each_frame(corpus, clip, lambda values: played(values, 1.01))
    corpus.wave(clip, lambda samples: soxr.resample(samples, RATE, RATE * 1.01))


def other_motion(corpus: Corpus, clip: str) -> None:
    """Keep the sound, one bit of noise apart, under the motion in reverse."""
    one_bit(corpus, clip)
    each_frame(corpus, clip, lambda values: values[::-1])


COPIES: dict[str, tuple[Callable[[Corpus, str], Any], set[str]]] = {
    "noise of one bit": (one_bit, {"same_motion", "same_sound", "leak_of_a_part"}),
    "float16": (float16, {"same_motion", "same_sound", "leak_of_a_part"}),
    "another cut": (cut_again, {"same_motion", "same_sound", "leak_of_a_part"}),
    "one per cent slower": (one_per_cent_slower, {"same_motion", "same_sound", "leak_of_a_part"}),
    "the same sound under another motion": (other_motion, {"same_sound", "leak_of_a_part"}),
}


@pytest.mark.parametrize(("change", "rules"), COPIES.values(), ids=COPIES)
def test_a_changed_copy_in_another_split_is_found(
    change: Callable[[Corpus, str], Any],
    rules: set[str],
    corpus: Corpus,
    ingest_corpus: IngestCorpus,
) -> None:
    corpus.copy(TRAINED, COPY, "test", ("motion", "wave"))
    change(corpus, COPY)
    store = ingest_corpus(corpus.root)
    found = findings(store.manifest)
    assert set(found) == {TRAINED, COPY}
    assert rules <= found[TRAINED]
    assert rules <= found[COPY]
    assert all(any(fig.svg for fig in figures_of(store, COPY, [rule])) for rule in rules)
    rows = apply_rules(store.manifest, clip_rules(STANDARD_BOUNDS))
    (leak,) = rows.loc[(rows["rule"] == "leak_of_a_part") & (rows["clip_id"] == COPY), "found"]
    assert f"of {TRAINED} in train" in leak


@needs_real_clips
@pytest.mark.parametrize(("change", "rules"), COPIES.values(), ids=COPIES)
def test_a_changed_copy_of_a_clip_of_beatx_is_found(
    change: Callable[[Corpus, str], Any],
    rules: set[str],
    real: Corpus,
    ingest_corpus: IngestCorpus,
) -> None:
    first, second = "2_scott_0_1_1", "2_scott_0_2_2"
    (real.root / "sem" / f"{first}.txt").unlink()
    real.copy(first, second, "train", ("motion", "wave", "textgrid"))
    change(real, second)
    found = findings(ingest_corpus(real.root).manifest)
    assert rules <= found[first]
    assert rules <= found[second]


def test_a_clip_of_another_speaker_is_found(corpus: Corpus, ingest_corpus: IngestCorpus) -> None:
    """Voice and body both name the speaker whose clip it is."""
    corpus.rename("1_ada_0_1_1", COPY)
    store = ingest_corpus(corpus.root)
    found = findings(store.manifest)
    assert set(found) == {COPY}
    assert found[COPY] >= FOREIGN | {"speaker_shape"}
    for rule in found[COPY]:
        assert any(figure.svg for figure in figures_of(store, COPY, [rule]))
    row = store.manifest[store.manifest["clip_id"] == COPY].iloc[0]
    assert (row["voice_of"], row["shape_of"]) == ("1 ada", "1 ada")


@needs_real_clips
def test_another_voice_and_body_are_found_in_beatx(
    real: Corpus, sample: Path, ingest_corpus: IngestCorpus
) -> None:
    """With two clips, either could be wrong, so both are named."""
    shutil.copy(
        sample / "wave16k" / "2_bruno_0_1_1.wav", real.root / "wave16k" / "2_scott_0_2_2.wav"
    )
    real.add("2_scott_0_2_2", "betas", np.float32(0.5))
    found = findings(ingest_corpus(real.root).manifest)
    assert {"same_voice", "speaker_shape"} <= found["2_scott_0_1_1"]
    assert {"same_voice", "speaker_shape"} <= found["2_scott_0_2_2"]


@pytest.fixture
def real(tmp_path: Path) -> Corpus:
    root = shutil.copytree(REAL, tmp_path / "real", copy_function=shutil.copy)
    for path in (root, *root.rglob("*")):
        path.chmod(0o755)
    return Corpus(root)
