"""Cache of the measured rows of a corpus, so that a second check reads only changed clips.

The manifest of the whole corpus is kept as well. It is used if no clip, no split and no code that
compares clips has changed.

As in git, a clip counts as unchanged if the sizes, inodes and times of its files are the same. The
time of the last change of an inode (ctime) cannot be set by a program, so a changed file is found
even if it has its old size and its old date of modification. Rows of files that changed shortly
before they were read are not kept, because a second change may have the same time.
"""

import hashlib
import io
import json
import logging
import os
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import pandas as pd

from mambatalk.clips.reading import Row
from mambatalk.clips.shard_cache import code_digest
from mambatalk.corpus.layout import FOLDERS, KINDS, ClipId
from mambatalk.errors import InputError
from mambatalk.files import atomic_file, digest, sha256_file

CORPORA_KEPT: Final = 8
"""Corpora whose rows are kept; an hour of motion takes about 1.1 MB."""
SETTLED_NS: Final = 2 * 10**9
"""Age of a file's last change in nanoseconds from which every later change has another time. The
times of file systems have steps from some milliseconds to two seconds.
"""

MANIFEST_CODE: Final = (
    "clips/corpus_statistics.py",
    "clips/manifest.py",
    "clips/near_duplicates.py",
    "clips/speakers.py",
    "corpus/recordings.py",
)
"""The code that makes a manifest from the rows of clips, besides that of the rows."""
MANIFEST_LIBRARIES: Final = ("pandas", "scipy")

Stamps = list[list[int] | None]
"""Size, inode, and times of modification and change of each file of a clip; None for no file."""
log = logging.getLogger(__name__)


def file_stamps(root: Path, clip: ClipId) -> Stamps:
    """Return the stamps of a clip's files in the order of `KINDS`."""
    stamps: Stamps = []
    name = str(clip)
    for kind in KINDS:
        folder, suffix = FOLDERS[kind]
        try:
            # Plain strings: paths would take most of the time of a check of known clips.
            found = os.stat(f"{root}/{folder}/{name}{suffix}")
        except OSError:
            stamps.append(None)
        else:
            stamps.append([found.st_size, found.st_ino, found.st_mtime_ns, found.st_ctime_ns])
    return stamps


class RowCache:
    """The rows of one corpus that an earlier check measured.

    A cache that cannot be read or written makes a check slower, and never ends it.

    Args:
        folder: Folder with one file for each corpus.
        root: The corpus.
        speakers: Speaker ids that are checked. Empty selects all speakers.

    """

    def __init__(self, folder: Path, root: Path, speakers: Sequence[int]) -> None:
        self._path = folder / f"{digest([str(root), list(speakers)])[:32]}.json"

    def find(self, stamps: Mapping[str, Stamps]) -> dict[str, Row]:
        """Return the rows of the clips whose files are unchanged, by clip id."""
        body = _read(self._path)
        if body is None:
            return {}
        content = json.loads(body)
        if content["code"] != code_digest():
            return {}
        return {
            clip: row for clip, (kept, row) in content["clips"].items() if kept == stamps.get(clip)
        }

    def save(self, rows: Mapping[str, Row], stamps: Mapping[str, Stamps], read_at: int) -> None:
        """Keep rows for the next check.

        Args:
            rows: Row of each clip.
            stamps: Stamps of the files of the clips, taken before they were read; the rows of
                other clips are not kept.
            read_at: Time at which the stamps were taken, nanoseconds.

        """
        clips = {
            clip: [stamps[clip], row]
            for clip, row in rows.items()
            if clip in stamps and _has_settled(stamps[clip], read_at)
        }
        body = json.dumps({"code": code_digest(), "clips": clips})
        try:
            _write(self._path, body.encode())
            self._prune()
        except (InputError, OSError) as error:
            log.warning("the rows are not kept, so the next check reads all clips: %s", error)

    def find_manifest(
        self, stamps: Mapping[str, Stamps], splits: Mapping[str, str]
    ) -> pd.DataFrame | None:
        """Return the manifest of exactly these clips and splits, or None."""
        body = _read(self._manifest_path)
        if body is None:
            return None
        stated, _, table = body.partition(b"\n")
        if stated.decode() != _manifest_key(stamps, splits):
            return None
        return pd.read_parquet(io.BytesIO(table))

    def save_manifest(
        self,
        manifest: pd.DataFrame,
        stamps: Mapping[str, Stamps],
        splits: Mapping[str, str],
        read_at: int,
    ) -> None:
        """Keep a manifest for the next check, unless a row in it is not kept.

        Args:
            manifest: Result of `build_manifest`.
            stamps: As for `save`.
            splits: Split of each clip id.
            read_at: As for `save`.

        """
        if len(stamps) < len(manifest) or not all(
            _has_settled(stamp, read_at) for stamp in stamps.values()
        ):
            return
        file = io.BytesIO()
        manifest.to_parquet(file, index=False)
        try:
            _write(
                self._manifest_path,
                _manifest_key(stamps, splits).encode() + b"\n" + file.getvalue(),
            )
        except (InputError, OSError) as error:
            # `save` has warned of a folder that cannot be written.
            log.debug("the manifest is not kept: %s", error)

    @property
    def _manifest_path(self) -> Path:
        return self._path.with_suffix(".manifest")

    def _prune(self) -> None:
        """Delete the rows of the corpora that were checked the longest time ago."""
        files = sorted(self._path.parent.glob("*.json"), key=_modified, reverse=True)
        for path in files[CORPORA_KEPT:]:
            path.unlink(missing_ok=True)
            path.with_suffix(".manifest").unlink(missing_ok=True)


def _manifest_key(stamps: Mapping[str, Stamps], splits: Mapping[str, str]) -> str:
    package = Path(__file__).parents[1]
    code = [sha256_file(package / name) for name in MANIFEST_CODE]
    libraries = [version(name) for name in MANIFEST_LIBRARIES]
    return digest([code_digest(), code, libraries, stamps, splits])


def _read(path: Path) -> bytes | None:
    """Return the content of a file of the cache; None if it is missing or damaged."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    stated, _, body = data.partition(b"\n")
    if stated != hashlib.sha256(body).hexdigest().encode():
        log.warning("%s: found changed bytes; reading the clips again", path)
        return None
    return body


def _write(path: Path, body: bytes) -> None:
    """Write a file of the cache, with a digest of its content in the first line."""
    with atomic_file(path) as temporary:
        temporary.write_bytes(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)


def _has_settled(stamps: Sequence[Any], read_at: int) -> bool:
    return all(stamp is None or stamp[3] < read_at - SETTLED_NS for stamp in stamps)


def _modified(path: Path) -> int:
    return path.stat().st_mtime_ns
