"""Shards of earlier runs, so that a corpus of which little changed is ingested in little time.

A shard and what the manifest says of its clips are kept under the digest of what they were made
from: the files' digests, this code, the libraries. The folder is a cache: nothing but time is lost
    with it. It holds links to the
store's own files where the disk allows, and at most twice what the last run used; the longest
unused go first.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
from filelock import FileLock

from mambatalk.files import atomic_file, digest, sha256_file

LIBRARIES: Final = ("numpy", "pyarrow", "soundfile", "soxr")


@dataclass(frozen=True)
class Kept:
    """One clip in a shard of an earlier run."""

    shard: Path
    row_group: int | None
    """None where the clip could not be read."""
    row: dict[str, Any]
    """Of the manifest."""

    def table(self, schema: pa.Schema) -> pa.Table | None:
        """The clip's row of the store."""
        if self.row_group is None:
            return None
        return pa.table(pq.ParquetFile(self.shard).read_row_group(self.row_group).columns, schema)


class ScratchShards:
    """What earlier runs left; `open_scratch` makes it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._shards: dict[str, dict[str, Kept]] = {}
        for path in folder.glob("*.json"):
            self._shards |= _recall(path)
        self._clips = {key: kept for clips in self._shards.values() for key, kept in clips.items()}
        self._used: set[str] = set()

    def clip(self, key: str | None) -> Kept | None:
        """The clip made from what `key` says, if it is there."""
        return None if key is None else self._clips.get(key)

    def whole(self, keys: Sequence[str | None], path: Path) -> list[Kept] | None:
        """Put the shard of exactly these clips at `path` and return them, if it is there."""
        name = digest(keys)
        if name not in self._shards:
            return None
        self._used.add(name)
        shard = self._folder / f"{name}.parquet"
        if shard.exists():
            _link(shard, path)
        return list(self._shards[name].values())

    def keep(
        self,
        path: Path,
        keys: Sequence[str | None],
        places: Sequence[int | None],
        rows: Sequence[Mapping[str, Any]],
    ) -> None:
        """Keep a shard for later runs, but for the clips without a key."""
        name = digest(keys)
        shard = self._folder / f"{name}.parquet"
        if path.exists():
            _link(path, shard)
        clips = [
            [key, place, row]
            for key, place, row in zip(keys, places, rows, strict=True)
            if key is not None
        ]
        with atomic_file(shard.with_suffix(".json")) as temporary:
            temporary.write_text(json.dumps({"clips": clips, "mark": _mark(shard)}))
        self._used.add(name)

    def tidy(self) -> None:
        """Drop what this run did not use, but for as much as it used, of what was used last."""
        spare = sum(map(self._size, self._used))
        wanted = set(self._used)
        for name in sorted(
            set(self._shards) - self._used, key=lambda name: -self._notes(name).stat().st_mtime_ns
        ):
            spare -= self._size(name)
            if spare >= 0:
                wanted.add(name)
        for path in self._folder.iterdir():
            if path.stem not in wanted:
                path.unlink()
        for name in self._used:
            self._notes(name).touch()

    def _notes(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def _size(self, name: str) -> int:
        mark = _mark(self._folder / f"{name}.parquet")
        return mark[0] if mark else 0


@contextmanager
def open_scratch(folder: Path) -> Iterator[ScratchShards]:
    """Open a folder of earlier shards, for one process at a time, and tidy it when the block ends
    well.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        scratch = ScratchShards(folder)
        yield scratch
        scratch.tidy()


@cache
def code_digest() -> str:
    """Digest of the code that reads and measures clips, and of the versions of the libraries it
    leans on.
    """
    package = Path(__file__).parents[1]
    folders = ("clips", "corpus", "motion")
    files = sorted(path for folder in folders for path in (package / folder).glob("*.py"))
    return digest(
        [
            [sha256_file(path) for path in files],
            [version(name) for name in LIBRARIES],
            soundfile.__libsndfile_version__,
        ]
    )


def _recall(notes: Path) -> dict[str, dict[str, Kept]]:
    """The shard that a file of notes tells of, by its name; nothing where the two do not fit."""
    shard = notes.with_suffix(".parquet")
    with suppress(OSError, ValueError, KeyError):
        found = json.loads(notes.read_text())
        if found["mark"] == _mark(shard):
            return {
                notes.stem: {key: Kept(shard, place, row) for key, place, row in found["clips"]}
            }
    return {}


def _mark(shard: Path) -> list[int] | None:
    """Size and time of a shard: a store's file is the same file, and somebody may have written into
    it since.
    """
    if not shard.exists():
        return None
    facts = shard.stat()
    return [facts.st_size, facts.st_mtime_ns]


def _link(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # Another disk, or one without links.
        shutil.copy2(source, target)
