"""Names from the split table, from file names and from a snapshot never lead out of the output
folder.
"""

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
PIECES = (
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


def hostile(number: int) -> str:
    luck = random.Random(number)
    return "".join(luck.choice(PIECES) for _ in range(luck.randint(1, 6)))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A corpus of one clip whose files are none."""
    root = tmp_path / "corpus"
    for kind in KINDS:
        path = clip_path(root, parse_clip_id(CLIP), kind)
        path.parent.mkdir(parents=True)
        path.write_bytes(b"nothing")
    (root / "train_test_split.csv").write_text(f"id,type\n{CLIP},train\n")
    return root


def plant(place: str, name: str, root: Path) -> bool:
    """Put a name where ingest meets it; False where no file can have it."""
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


def refusal(place: str, name: str, root: Path, out: Path) -> str:
    """Snapshot and ingest: what the user is told, or nothing."""
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
def test_a_name_leads_nowhere(place: str, number: int, root: Path, tmp_path: Path) -> None:
    name, out = hostile(number), tmp_path / "out"
    if not plant(place, name, root):
        return
    out.mkdir()
    before = tree(tmp_path) | {tmp_path / "snapshot.json"}
    assert refusal(place, name, root, out).isprintable()
    assert {path for path in tree(tmp_path) - before if path.parent != out} == set()


def tree(folder: Path) -> set[Path]:
    return {
        Path(where) / name
        for where, folders, files in os.walk(folder)
        for name in (*folders, *files)
    }
