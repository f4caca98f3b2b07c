"""Names from the split table, from files and from a snapshot never leave the output folder."""

import os
import random
from pathlib import Path

import pytest

from mambatalk.clips.ingest import ingest
from mambatalk.corpus.layout import KINDS, clip_path, parse_clip_id
from mambatalk.corpus.snapshot import write_snapshot
from mambatalk.errors import InputError
from mambatalk.files import write_json

CLIP = "1_ada_0_1_1"
FRAGMENTS = (
    "..",
    ".",
    "/",
    "//",
    "\\",
    "~",
    "%2e%2e",
    "%00",
    "\0",
    "\n",
    "\r",
    "\t",
    "\x1b[2J",
    "\x7f",
    "\u202e",
    "\u2215",
    "$(id)",
    "`id`",
    ";",
    "|",
    "*",
    "?",
    "C:",
    "CON",
    "etc",
    "passwd",
    "tmp",
    "1",
    "_",
    "ada",
    CLIP,
    "0",
    "-1",
    " ",
    "é",
    "２",
    "\udcff",
    "a" * 300,
)


def hostile_name(number: int) -> str:
    """Return a name of random dangerous fragments; the number is the seed."""
    generator = random.Random(number)
    return "".join(generator.choice(FRAGMENTS) for _ in range(generator.randint(1, 6)))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A corpus of one clip with invalid files."""
    root = tmp_path / "corpus"
    for kind in KINDS:
        path = clip_path(root, parse_clip_id(CLIP), kind)
        path.parent.mkdir(parents=True)
        path.write_bytes(b"nothing")
    (root / "train_test_split.csv").write_text(f"id,type\n{CLIP},train\n")
    return root


def add_name(place: str, name: str, root: Path) -> bool:
    """Add a name to a corpus; return False if the file system does not allow it."""
    if place == "split table":
        with (root / "train_test_split.csv").open(
            "a", encoding="utf-8", errors="surrogateescape"
        ) as file:
            file.write(f'"{name}",train\n')
    elif place == "file":
        try:
            (root / "wave16k" / f"{name}.wav").write_bytes(b"nothing")
        except (OSError, ValueError):
            return False
    return True


def error_message(place: str, name: str, root: Path, out: Path) -> str:
    """Snapshot and ingest; return the error message, or an empty string."""
    snapshot = out.parent / "snapshot.json"
    try:
        value = write_snapshot(root, snapshot)
        if place == "snapshot":
            value["files"][name] = {"size": 7, "sha256": "0" * 64}
            write_json(snapshot, value)
        ingest(root, snapshot, out, speakers=[], clips_per_shard=4)
    except InputError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("place", ["split table", "file", "snapshot"])
@pytest.mark.parametrize("number", range(40))
def test_a_hostile_name_writes_nothing_outside_the_output(
    place: str, number: int, root: Path, tmp_path: Path
) -> None:
    name = hostile_name(number)
    out = tmp_path / "out"
    if not add_name(place, name, root):
        return
    out.mkdir()
    before = tree(tmp_path) | {tmp_path / "snapshot.json"}
    assert error_message(place, name, root, out).isprintable()
    assert {path for path in tree(tmp_path) - before if path.parent != out} == set()


def tree(folder: Path) -> set[Path]:
    return {
        Path(where) / name
        for where, folders, files in os.walk(folder)
        for name in (*folders, *files)
    }
