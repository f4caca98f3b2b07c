"""A second ingest reads only changed clips, and the store is the same to the byte."""

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mambatalk.clips import ingest as module
from mambatalk.clips.ingest import ingest
from mambatalk.clips.reading import ClipJob, read_clip
from mambatalk.clips.shards import assign_shards
from mambatalk.corpus.snapshot import write_snapshot
from mambatalk.errors import InputError
from mambatalk.files import sha256_file
from mambatalk.sample.build import write_sample


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sample") / "corpus"
    write_sample(root, hours=0.04, speakers=3, seed=5)
    return root


@pytest.fixture
def corpus(sample: Path, tmp_path: Path) -> Path:
    return shutil.copytree(sample, tmp_path / "corpus")


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the ids of the clips whose files are read."""
    seen: list[str] = []

    def recording(job: ClipJob) -> Any:
        seen.append(str(job.clip))
        return read_clip(job)

    monkeypatch.setattr(module, "read_clip", recording)
    return seen


def store(root: Path, out: Path, scratch: Path | None) -> dict[str, str]:
    out.mkdir()
    write_snapshot(root, out.with_suffix(".json"))
    ingest(root, out.with_suffix(".json"), out, speakers=[], clips_per_shard=3, cache=scratch)
    return {path.name: sha256_file(path) for path in out.iterdir()}


def change(root: Path, kind: str = "smplxflame_30", place: int = 0) -> str:
    path = sorted((root / kind).iterdir())[place]
    with np.load(path) as arrays:
        moved = {
            name: arrays[name] + (0.25 if name == "trans" else 0)
            if arrays[name].dtype.kind == "f"
            else arrays[name]
            for name in arrays.files
        }
    np.savez(path, **moved)
    return path.stem


def test_an_unchanged_corpus_is_not_read_again(
    corpus: Path, tmp_path: Path, read: list[str]
) -> None:
    first = store(corpus, tmp_path / "first", tmp_path / "scratch")
    count = len(read)
    assert store(corpus, tmp_path / "second", tmp_path / "scratch") == first
    assert len(read) == count == len(list((corpus / "wave16k").iterdir()))


def test_a_changed_clip_is_read_and_its_shard_rewritten(
    corpus: Path, tmp_path: Path, read: list[str]
) -> None:
    first = store(corpus, tmp_path / "first", tmp_path / "scratch")
    read.clear()
    changed = change(corpus)
    second = store(corpus, tmp_path / "second", tmp_path / "scratch")
    assert read == [changed]
    shard = (
        pd.read_parquet(tmp_path / "second" / "manifest.parquet")
        .set_index("clip_id")
        .at[changed, "shard"]
    )
    assert {name for name in first if first[name] != second.get(name)} == {
        shard,
        "manifest.parquet",
    }
    assert second == store(corpus, tmp_path / "afresh", None)


def test_a_removed_file_changes_one_shard(corpus: Path, tmp_path: Path, read: list[str]) -> None:
    store(corpus, tmp_path / "first", tmp_path / "scratch")
    read.clear()
    waves = sorted((corpus / "wave16k").iterdir())
    waves[2].unlink()
    second = store(corpus, tmp_path / "second", tmp_path / "scratch")
    assert read == [waves[2].stem]
    assert second == store(corpus, tmp_path / "afresh", None)
    assert store(corpus, tmp_path / "third", tmp_path / "scratch") == second


def test_a_changed_split_table_reads_no_clip(corpus: Path, tmp_path: Path, read: list[str]) -> None:
    store(corpus, tmp_path / "first", tmp_path / "scratch")
    read.clear()
    table = corpus / "train_test_split.csv"
    table.write_text(table.read_text().replace(",val", ",additional"))
    store(corpus, tmp_path / "second", tmp_path / "scratch")
    assert read == []
    assert set(pd.read_parquet(tmp_path / "second" / "manifest.parquet")["split"]) == {
        "train",
        "test",
        "additional",
    }


def test_changed_code_reads_every_clip_again(
    corpus: Path, tmp_path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store(corpus, tmp_path / "first", tmp_path / "scratch")
    count = len(read)
    monkeypatch.setattr(module, "code_digest", lambda: "another")
    store(corpus, tmp_path / "second", tmp_path / "scratch")
    assert len(read) == 2 * count


def flip_byte(path: Path, place: int) -> None:
    """Change one byte, and nothing else that a directory listing shows."""
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0] ^ 1
        file.seek(place)
        file.write(bytes([byte]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def flip_measurement(notes: Path) -> None:
    flip_byte(notes, notes.read_bytes().index(b'"max_angle": 1.') + len('"max_angle": 1.'))


@pytest.mark.parametrize(
    ("suffix", "damage"),
    [
        ("parquet", lambda path: flip_byte(path, 200)),
        ("parquet", lambda path: os.truncate(path, path.stat().st_size - 100)),
        ("parquet", lambda path: path.unlink()),
        ("json", flip_measurement),
        ("json", lambda path: os.truncate(path, 100)),
        ("json", lambda path: path.write_bytes(b"[]")),
    ],
    ids=["flipped", "truncated", "missing", "flipped-row", "truncated-rows", "other-json"],
)
def test_a_damaged_shard_is_read_again_with_one_line(
    corpus: Path,
    tmp_path: Path,
    read: list[str],
    caplog: pytest.LogCaptureFixture,
    suffix: str,
    damage: Callable[[Path], None],
) -> None:
    first = store(corpus, tmp_path / "first", tmp_path / "scratch")
    shutil.rmtree(tmp_path / "first")
    read.clear()
    damaged = min((tmp_path / "scratch").glob(f"*.{suffix}"))
    damage(damaged)
    assert store(corpus, tmp_path / "second", tmp_path / "scratch") == first
    assert caplog.messages == [f"{damaged}: found changed bytes; reading the clips again"]
    assert 0 < len(read) < len(list((corpus / "wave16k").iterdir()))


def test_a_store_that_was_overwritten_in_place_is_not_reused(corpus: Path, tmp_path: Path) -> None:
    """Its shards and those of the cache are the same files."""
    first = store(corpus, tmp_path / "first", tmp_path / "scratch")
    flip_byte(min((tmp_path / "first").glob("shard-*.parquet")), 200)
    assert store(corpus, tmp_path / "second", tmp_path / "scratch") == first


def test_a_cached_clip_with_a_file_that_differs_from_the_snapshot_is_refused(
    corpus: Path, tmp_path: Path
) -> None:
    store(corpus, tmp_path / "first", tmp_path / "scratch")
    with next((corpus / "textgrid").iterdir()).open("ab") as file:
        file.write(b" ")
    (tmp_path / "second").mkdir()
    with pytest.raises(InputError, match="write a new snapshot"):
        ingest(
            corpus,
            tmp_path / "first.json",
            tmp_path / "second",
            speakers=[],
            clips_per_shard=3,
            cache=tmp_path / "scratch",
        )


def test_the_cache_holds_at_most_twice_the_store(corpus: Path, tmp_path: Path) -> None:
    for turn in range(6):
        for place in range(8):
            change(corpus, place=place)
        store(corpus, tmp_path / f"store-{turn}", tmp_path / "scratch")
    size = sum(path.stat().st_size for path in (tmp_path / "scratch").glob("*.parquet"))
    assert size <= 2.1 * sum(path.stat().st_size for path in (tmp_path / "store-5").glob("shard-*"))
    assert size > sum(path.stat().st_size for path in (tmp_path / "store-5").glob("shard-*"))


def test_shards_are_balanced_and_one_clip_affects_one_shard() -> None:
    names = [f"2_scott_0_{number}_{number}" for number in range(1000)]
    shards = assign_shards(names, 32)
    assert sorted(name for members in shards.values() for name in members) == sorted(names)
    assert len(shards) == 32
    assert max(map(len, shards.values())) < 64
    fewer = assign_shards(names[:-1], 32)
    assert sum(shards[file] != fewer.get(file) for file in shards) == 1


def die_on_one_clip(job: ClipJob) -> Any:
    if str(job.clip) == "1_ada_0_1_1":
        os.kill(os.getpid(), signal.SIGKILL)
    return read_clip(job)


@pytest.mark.slow
def test_a_clip_that_kills_its_reader_is_recorded_in_the_manifest(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "read_clip", die_on_one_clip)
    write_snapshot(corpus, tmp_path / "snapshot.json")
    (tmp_path / "out").mkdir()
    ingest(
        corpus,
        tmp_path / "snapshot.json",
        tmp_path / "out",
        speakers=[],
        clips_per_shard=3,
        workers=2,
    )
    table = pd.read_parquet(tmp_path / "out" / "manifest.parquet")
    (broken,) = table[table["fault"].notna()].to_dict("records")
    assert broken["clip_id"] == "1_ada_0_1_1"
    assert "the worker process died" in broken["fault"]
