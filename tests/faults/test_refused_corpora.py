"""An inconsistent corpus is refused in one line, and nothing is written."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mambatalk.clips.ingest import ingest
from mambatalk.corpus.snapshot import write_snapshot
from mambatalk.errors import InputError
from mambatalk.files import read_json, write_json
from tests.faults.damage import Corpus

CLIP = "3_celia_0_4_4"


def add_line(line: str) -> Callable[[Corpus], Any]:
    return lambda corpus: corpus.table(lambda text: f"{text}{line}\n")


REFUSED: dict[str, tuple[Callable[[Corpus], Any], str]] = {
    "no table": (lambda c: (c.root / "train_test_split.csv").unlink(), "no train_test_split.csv"),
    "a table without its header": (
        lambda c: c.table(lambda text: text.removeprefix("id,type\n")),
        "columns",
    ),
    "a table that is not text": (
        lambda c: (c.root / "train_test_split.csv").write_bytes(b"id,type\n\xff\xfe"),
        "UTF-8",
    ),
    "a clip in two splits": (add_line(f"{CLIP},test"), "second time"),
    "an unknown split": (add_line("3_celia_0_8_8,trian"), "'trian'"),
    "an id that points outside the folder": (
        add_line("../../3_celia_0_8_8,train"),
        "SPEAKER_NAME_TYPE_START_END",
    ),
    "an id that is an absolute path": (
        add_line("/etc/passwd,train"),
        "SPEAKER_NAME_TYPE_START_END",
    ),
    "an id with control characters": (
        add_line("3_celia\x1b[2J_0_8_8,train"),
        "SPEAKER_NAME_TYPE_START_END",
    ),
    "a file name with control characters": (
        lambda c: (c.root / "wave16k" / "3_celia_0_8_8\r\n.wav").write_bytes(b""),
        "printable file names",
    ),
    "a file name that is not text": (
        lambda c: Path(os.fsdecode(bytes(c.root / "wave16k") + b"/3_celia_\xff.wav")).write_bytes(
            b""
        ),
        "printable",
    ),
}


def snapshot_and_ingest(root: Path, snapshot: Path, out: Path) -> None:
    write_snapshot(root, snapshot)
    ingest(root, snapshot, out, speakers=[], clips_per_shard=4)


@pytest.mark.parametrize(("plant", "named"), REFUSED.values(), ids=REFUSED)
def test_a_corpus_is_refused_in_one_line(
    plant: Callable[[Corpus], Any], named: str, corpus: Corpus, tmp_path: Path
) -> None:
    plant(corpus)
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(InputError, match=named) as error:
        snapshot_and_ingest(corpus.root, tmp_path / "snapshot.json", out)
    assert str(error.value).isprintable()
    assert list(out.iterdir()) == []


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


CHANGED: dict[str, Callable[[Corpus], Any]] = {
    "changed": lambda c: c.bytes(CLIP, "motion", lambda data: data[:-1] + b"\1"),
    "removed": lambda c: c.path(CLIP, "wave").unlink(),
    "added": lambda c: c.copy(CLIP, "3_celia_0_8_8", "train"),
    "a folder": lambda c: replace_by_folder(c.path(CLIP, "semantics")),
}


@pytest.mark.parametrize("change", CHANGED.values(), ids=CHANGED)
def test_a_file_that_differs_from_the_snapshot_is_refused(
    change: Callable[[Corpus], Any], corpus: Corpus, tmp_path: Path
) -> None:
    write_snapshot(corpus.root, tmp_path / "snapshot.json")
    change(corpus)
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(InputError, match="write a new snapshot"):
        ingest(corpus.root, tmp_path / "snapshot.json", out, speakers=[], clips_per_shard=4)
    assert not (out / "manifest.parquet").exists()


@pytest.mark.parametrize(
    "path", ["../outside.npz", "/etc/passwd", "smplxflame_30/../../outside.npz"]
)
def test_snapshot_paths_outside_the_corpus_are_never_opened(
    path: str, corpus: Corpus, tmp_path: Path
) -> None:
    """Only names of the layout are looked up in a snapshot; other entries have no effect."""
    write_snapshot(corpus.root, tmp_path / "snapshot.json")
    value = read_json(tmp_path / "snapshot.json")
    value["files"][path] = {"size": 1, "sha256": "0" * 64}
    write_json(tmp_path / "snapshot.json", value)
    out = tmp_path / "out"
    out.mkdir()
    before = set(tmp_path.rglob("*"))
    ingest(corpus.root, tmp_path / "snapshot.json", out, speakers=[], clips_per_shard=4)
    assert {place.parent for place in set(tmp_path.rglob("*")) - before} == {out}


@pytest.mark.parametrize(
    "text", ["[]", "{}", '{"files": []}', '{"files": {"wave16k/3_celia_0_4_4.wav": 7}}', "7", "{"]
)
def test_an_invalid_snapshot_is_refused(text: str, corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / "snapshot.json").write_text(text)
    with pytest.raises(InputError, match="snapshot"):
        ingest(corpus.root, tmp_path / "snapshot.json", tmp_path, speakers=[], clips_per_shard=4)
