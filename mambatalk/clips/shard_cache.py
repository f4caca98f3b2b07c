"""Cache of shards from earlier runs, so that a corpus with few changes is ingested quickly.

A shard and the manifest rows of its clips are stored under the digest of everything they were made
from: the clips' files, the code that reads them, and the versions of the libraries. Both are
compared with digests of their own before they are used. A disk may have changed them, or a program
that wrote to the clip store in place, because the folder holds hard links to the files of the clip
store where the file system allows. It holds at most twice the data that the last run used, the
least recently used shards are deleted first, and it can be deleted at any time.
"""

import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
from filelock import FileLock

from mambatalk.errors import InputError
from mambatalk.files import atomic_file, digest, sha256_file

ROW_CODE: Final = (
    "clips/alignment.py",
    "clips/continuity.py",
    "clips/fingerprints.py",
    "clips/labels.py",
    "clips/landmarks.py",
    "clips/noise.py",
    "clips/parts.py",
    "clips/placement.py",
    "clips/posture.py",
    "clips/reading.py",
    "clips/row.py",
    "clips/schema.py",
    "clips/shards.py",
    "clips/statistics.py",
    "clips/voice.py",
    "corpus/layout.py",
    "corpus/semantics.py",
    "corpus/textgrid.py",
    "corpus/wave.py",
    "errors.py",
    "files.py",
    "motion/clip.py",
    "motion/npz.py",
    "motion/skeleton.py",
)
"""The code that makes a clip's rows: the imports of `reading` and `shards`, direct and indirect.
A change in one of these files empties the cache; a test compares the list with the imports.
"""
LIBRARIES: Final = ("numpy", "pyarrow", "soundfile", "soxr")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CachedClip:
    """One clip in a shard of an earlier run."""

    shard: Path
    row_group: int | None
    """None if the clip could not be read."""
    row: dict[str, Any]
    """Row of the manifest."""

    def table(self, schema: pa.Schema) -> pa.Table | None:
        """Read the row of the store, or return None if the clip could not be read."""
        if self.row_group is None:
            return None
        columns = pq.ParquetFile(self.shard).read_row_group(self.row_group).columns
        return pa.table(columns, schema)


class ShardCache:
    """Shards of earlier runs; use `open_shard_cache` to create it.

    Each shard consists of NAME.parquet and NAME.json, which holds the keys and manifest rows of its
    clips, and digests of both files. NAME is the digest of the keys.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._shards: dict[str, dict[str, CachedClip]] = {}
        self._sha256: dict[str, str | None] = {}
        """SHA-256 of each shard that has not been compared with its file yet."""
        for path in folder.glob("*.json"):
            self._load(path)
        self._clips = {key: clip for clips in self._shards.values() for key, clip in clips.items()}
        self._used: set[str] = set()

    def find_clip(self, key: str | None) -> CachedClip | None:
        """Return the clip with a key, or None."""
        clip = None if key is None else self._clips.get(key)
        return clip if clip and self._is_intact(clip.shard.stem) else None

    def restore_shard(self, keys: Sequence[str | None], path: Path) -> list[CachedClip] | None:
        """Place the shard of exactly these clips at `path`.

        Returns:
            The clips of the shard, or None if the cache does not have it.

        """
        name = digest(keys)
        if name not in self._shards or not self._is_intact(name):
            return None
        self._used.add(name)
        shard = self._shard_path(name)
        if shard.exists():
            _link_or_copy(shard, path)
        return list(self._shards[name].values())

    def add_shard(
        self,
        path: Path,
        keys: Sequence[str | None],
        row_groups: Sequence[int | None],
        rows: Sequence[Mapping[str, Any]],
    ) -> None:
        """Add a shard to the cache; clips without a key are not remembered.

        Args:
            path: The shard. It does not exist if none of its clips could be read.
            keys: Cache key of each clip.
            row_groups: Place of each clip in the shard.
            rows: Manifest row of each clip.

        """
        name = digest(keys)
        shard = self._shard_path(name)
        if path.exists():
            _link_or_copy(path, shard)
        clips = [
            [key, row_group, row]
            for key, row_group, row in zip(keys, row_groups, rows, strict=True)
            if key is not None
        ]
        content = {"clips": clips, "sha256": sha256_file(shard) if shard.exists() else None}
        with atomic_file(self._notes_path(name)) as temporary:
            temporary.write_text(json.dumps({**content, "digest": digest(content)}))
        self._used.add(name)

    def prune(self) -> None:
        """Delete shards that this run did not use.

        The most recently used ones are kept, up to the size of the shards that were used.
        """
        spare = sum(self._size(name) for name in self._used)
        keep = set(self._used)
        unused = set(self._shards) - self._used
        by_age = sorted(unused, key=lambda name: self._notes_path(name).stat().st_mtime_ns)
        for name in reversed(by_age):
            spare -= self._size(name)
            if spare >= 0:
                keep.add(name)
        for path in self._folder.iterdir():
            if path.stem not in keep:
                path.unlink()
        for name in self._used:
            self._notes_path(name).touch()

    def _load(self, notes: Path) -> None:
        """Read the clips of a shard, unless its notes are damaged or of an earlier version."""
        try:
            content = json.loads(notes.read_text())
            stated = content.pop("digest", None)
            if stated == digest(content):
                shard = notes.with_suffix(".parquet")
                self._sha256[notes.stem] = content["sha256"]
                self._shards[notes.stem] = {
                    key: CachedClip(shard, row_group, row)
                    for key, row_group, row in content["clips"]
                }
            elif stated is not None:
                _report_damage(notes)
        except (OSError, ValueError, TypeError):
            _report_damage(notes)

    def _is_intact(self, name: str) -> bool:
        """Return whether a shard has the bytes that were written; compare them on first use.

        The file may be a hard link to a file of a clip store that was overwritten.
        """
        if name in self._sha256:
            expected = self._sha256.pop(name)
            shard = self._shard_path(name)
            if expected != _sha256_or_none(shard):
                _report_damage(shard)
                del self._shards[name]
        return name in self._shards

    def _shard_path(self, name: str) -> Path:
        return self._folder / f"{name}.parquet"

    def _notes_path(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def _size(self, name: str) -> int:
        shard = self._shard_path(name)
        return shard.stat().st_size if shard.exists() else 0


@contextmanager
def open_shard_cache(folder: Path) -> Iterator[ShardCache]:
    """Open a cache folder for one process at a time, and prune it if the block succeeds."""
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        shards = ShardCache(folder)
        yield shards
        shards.prune()


@cache
def code_digest() -> str:
    """Return the digest of the code that makes a clip's rows and of the libraries it uses."""
    package = Path(__file__).parents[1]
    return digest(
        [
            [sha256_file(package / name) for name in ROW_CODE],
            [version(name) for name in LIBRARIES],
            soundfile.__libsndfile_version__,
        ]
    )


def _sha256_or_none(shard: Path) -> str | None:
    """Return the SHA-256 of a shard, or None if it does not exist or cannot be read."""
    try:
        return sha256_file(shard) if shard.exists() else None
    except (InputError, OSError):
        return None


def _report_damage(path: Path) -> None:
    log.warning("%s: found changed bytes; reading the clips again", path)


def _link_or_copy(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        # Another file system, or one without hard links.
        shutil.copy2(source, target)
