"""Cache of the measured rows of a corpus, so that a second check reads only changed clips.

A clip is unchanged if the sizes, inodes and times of its files are, as git decides it. The time of
the last change of an inode (ctime) cannot be set by a program, so that a file with its old size and
its old date of modification is found as well. Rows of files that changed shortly before they were
read are not kept, because a second change may bear the same time.
"""

import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from mambatalk.clips.reading import Row
from mambatalk.clips.shard_cache import code_digest
from mambatalk.corpus.layout import FOLDERS, KINDS, ClipId
from mambatalk.errors import InputError
from mambatalk.files import atomic_file, digest

CORPORA_KEPT: Final = 8
"""Corpora whose rows are kept; an hour of motion takes about 1.1 MB."""
SETTLED_NS: Final = 2 * 10**9
"""Age of a file's last change from which its time tells it from a later change, nanoseconds. File
systems have steps from some milliseconds to two seconds.
"""

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
        speakers: The speakers that are checked; none for all.

    """

    def __init__(self, folder: Path, root: Path, speakers: Sequence[int]) -> None:
        self._path = folder / f"{digest([str(root), list(speakers)])[:32]}.json"

    def find(self, stamps: Mapping[str, Stamps]) -> dict[str, Row]:
        """Return the rows of the clips whose files are unchanged, by clip id."""
        try:
            text = self._path.read_text(encoding="utf-8")
        except OSError:
            return {}
        stated, _, body = text.partition("\n")
        if stated != _sha256(body):
            log.warning("%s: found changed bytes; reading the clips again", self._path)
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
            with atomic_file(self._path) as temporary:
                temporary.write_text(f"{_sha256(body)}\n{body}", encoding="utf-8")
            self._prune()
        except (InputError, OSError) as error:
            log.warning("the rows are not kept, so the next check reads all clips: %s", error)

    def _prune(self) -> None:
        """Delete the rows of the corpora that were checked the longest time ago."""
        files = sorted(self._path.parent.glob("*.json"), key=_modified, reverse=True)
        for path in files[CORPORA_KEPT:]:
            path.unlink(missing_ok=True)


def _has_settled(stamps: Sequence[Any], read_at: int) -> bool:
    return all(stamp is None or stamp[3] < read_at - SETTLED_NS for stamp in stamps)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _modified(path: Path) -> int:
    return path.stat().st_mtime_ns
