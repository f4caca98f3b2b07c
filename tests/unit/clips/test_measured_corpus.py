"""A corpus is measured as the pipeline measures it, and again only where it has changed."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mambatalk.clips import measured_corpus, row_cache
from mambatalk.clips.ingest import ingest
from mambatalk.clips.measured_corpus import MeasuredCorpus
from mambatalk.clips.reading import measure_clip
from mambatalk.clips.store import ClipStore
from mambatalk.corpus.snapshot import write_snapshot
from mambatalk.quality.rules.catalogue import STANDARD_BOUNDS, clip_rules
from mambatalk.quality.rules.verdict import apply_rules
from mambatalk.sample.build import write_sample

REAL = Path(__file__).parents[3].parent / "shared" / "beatx_clips" / "beat_english_v2.0.0"
CHANGED, TRUNCATED, SILENT = "1_ada_0_1_1", "1_ada_0_2_2", "1_ada_0_3_3"


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip(
        "espeakng_loader", reason="eSpeak NG speaks the sample: pip install 'mambatalk[sample]'"
    )
    root = tmp_path_factory.mktemp("measured") / "corpus"
    write_sample(root, hours=0.02, speakers=3, seed=3)
    return root


@pytest.fixture
def corpus(sample: Path, tmp_path: Path) -> Path:
    return shutil.copytree(sample, tmp_path / "corpus")


@pytest.fixture
def files_have_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the times of files that were just written tell them apart, as after some seconds."""
    monkeypatch.setattr(row_cache, "SETTLED_NS", 0)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the clips that were measured and not taken from the cache."""
    names: list[str] = []

    def count(place: tuple[Path, Any]) -> Any:
        names.append(str(place[1]))
        return measure_clip(place)

    monkeypatch.setattr(measured_corpus, "measure_clip", count)
    return names


def ingested(root: Path, folder: Path) -> ClipStore:
    (folder / "clips").mkdir(parents=True)
    write_snapshot(root, folder / "snapshot.json")
    ingest(root, folder / "snapshot.json", folder / "clips", speakers=[], clips_per_shard=8)
    return ClipStore(folder / "clips")


def damage(corpus: Path) -> None:
    motion = corpus / "smplxflame_30"
    (motion / f"{TRUNCATED}.npz").write_bytes((motion / f"{TRUNCATED}.npz").read_bytes()[:5000])
    (corpus / "wave16k" / f"{SILENT}.wav").unlink()


@pytest.mark.parametrize("source", ["sample", "damaged sample", "real clips"])
def test_manifest_and_verdict_are_those_of_the_pipeline(
    source: str, corpus: Path, tmp_path: Path
) -> None:
    if source == "real clips":
        if not REAL.is_dir():
            pytest.skip("no real clips beside the checkout")
        corpus = REAL
    if source == "damaged sample":
        damage(corpus)
    store = ingested(corpus, tmp_path)
    direct = MeasuredCorpus(corpus)
    stored = store.manifest.drop(columns=["shard", "row_group"])
    pd.testing.assert_frame_equal(direct.manifest, stored, check_dtype=False)
    rules = clip_rules(STANDARD_BOUNDS)
    found = apply_rules(direct.manifest, rules)
    pd.testing.assert_frame_equal(found, apply_rules(store.manifest, rules))
    assert len(found) > 0 or source != "damaged sample"
    clip = stored["clip_id"][stored["fault"].isna()].iloc[0]
    assert direct.read(clip).audio == store.read(clip).audio
    assert (direct.read(clip).motion.poses == store.read(clip).motion.poses).all()


def change_content(path: Path) -> None:
    """Change a byte, and give the file its old size and date of modification."""
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[-5000] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace(path: Path) -> None:
    path.write_bytes(path.with_name("1_ada_0_2_2.wav").read_bytes())


@pytest.mark.parametrize("change", [change_content, replace, Path.unlink])
@pytest.mark.usefixtures("files_have_settled")
def test_a_second_check_measures_only_the_changed_clip(
    corpus: Path, tmp_path: Path, measured: list[str], change: Callable[[Path], object]
) -> None:
    first = MeasuredCorpus(corpus, cache=tmp_path / "cache")
    assert len(measured) == 12
    measured.clear()
    second = MeasuredCorpus(corpus, cache=tmp_path / "cache")
    assert measured == []
    pd.testing.assert_frame_equal(first.manifest, second.manifest, check_dtype=False)

    change(corpus / "wave16k" / f"{CHANGED}.wav")
    third = MeasuredCorpus(corpus, cache=tmp_path / "cache")
    assert measured == [CHANGED]
    pd.testing.assert_frame_equal(third.manifest, MeasuredCorpus(corpus).manifest)


def test_files_that_were_just_written_are_read_again(
    corpus: Path, tmp_path: Path, measured: list[str]
) -> None:
    for _ in range(2):
        MeasuredCorpus(corpus, cache=tmp_path / "cache")
    assert len(measured) == 24


@pytest.mark.usefixtures("files_have_settled")
def test_a_changed_split_is_seen_without_measuring(
    corpus: Path, tmp_path: Path, measured: list[str]
) -> None:
    MeasuredCorpus(corpus, cache=tmp_path / "cache")
    measured.clear()
    table = corpus / "train_test_split.csv"
    table.write_text(table.read_text().replace(f"{CHANGED},train", f"{CHANGED},test"))
    again = MeasuredCorpus(corpus, cache=tmp_path / "cache").manifest
    assert measured == []
    assert again.set_index("clip_id").loc[CHANGED, "split"] == "test"
    pd.testing.assert_frame_equal(again, MeasuredCorpus(corpus).manifest, check_dtype=False)


@pytest.mark.usefixtures("files_have_settled")
def test_a_check_of_an_unchanged_corpus_compares_no_clips(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    MeasuredCorpus(corpus, cache=tmp_path / "cache")

    def refuse(*_: object) -> pd.DataFrame:
        raise AssertionError("the manifest was made again")

    monkeypatch.setattr(measured_corpus, "build_manifest", refuse)
    MeasuredCorpus(corpus, cache=tmp_path / "cache")


@pytest.mark.usefixtures("files_have_settled")
def test_damaged_rows_are_measured_again(
    corpus: Path, tmp_path: Path, measured: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    MeasuredCorpus(corpus, cache=tmp_path)
    for pattern in ("*.json", "*.manifest"):
        (kept,) = tmp_path.glob(pattern)
        kept.write_bytes(kept.read_bytes()[:-9] + b"2" * 9)
    MeasuredCorpus(corpus, cache=tmp_path)
    assert len(measured) == 24
    assert caplog.text.count("found changed bytes") == 2
