"""Corpus snapshots: path, size and SHA-256 of every file of the layout.

The snapshot is the only data dependency of a build: a new snapshot triggers a new training. It can
also hold the corpus' origin, for the data card and for catalogues of data sets.
"""

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from mambatalk.console import Progress
from mambatalk.corpus.layout import FOLDERS, SPLIT_TABLE, WEIGHTS, check_root
from mambatalk.errors import InputError
from mambatalk.files import digest, path_errors, read_json, sha256_file, write_json

ORIGIN: Final = ("name", "licence", "url", "citation", "method")
"""Facts about a corpus that a person states. None of its files contains them, and no digest depends
on them."""


def build_snapshot(
    root: str | Path, *, workers: int = 2, progress: Progress | None = None
) -> dict[str, Any]:
    """Describe a corpus so that any changed byte can be detected.

    Args:
        root: Language folder in BEATX layout. Files outside the layout are ignored.
        workers: Number of files hashed in parallel.
        progress: Called after each file.

    Returns:
        `{"layout": "BEATX", "files": {path: {"size", "sha256"}}, "digest"}`: relative paths in
        sorted order, sizes in bytes, and one digest over all files.

    Raises:
        InputError: `root` is not a corpus, a file cannot be read, or a file name contains control
            characters.

    """
    root = check_root(root)
    paths = layout_files(root)
    files = {}
    with ThreadPoolExecutor(workers) as pool:
        hashes = pool.map(sha256_file, paths)
        for done, (path, sha256) in enumerate(zip(paths, hashes, strict=True), start=1):
            with path_errors(path, expected="a readable file"):
                size = path.stat().st_size
            files[path.relative_to(root).as_posix()] = {"size": size, "sha256": sha256}
            if progress is not None:
                progress(done, len(paths))
    return {"layout": "BEATX", "files": files, "digest": digest(files)}


def write_snapshot(
    root: str | Path,
    out: str | Path,
    *,
    origin: Mapping[str, str] | None = None,
    workers: int = 2,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write `build_snapshot(root)` as JSON, atomically, and return it.

    Args:
        root: Language folder in BEATX layout.
        out: File to write.
        origin: Texts by some of the names `ORIGIN`, kept under the key "origin". If None or empty,
            the snapshot has no such key.
        workers: Number of files hashed in parallel.
        progress: Called after each file.

    Raises:
        InputError: As `build_snapshot`, or `out` cannot be written.

    """
    value = build_snapshot(root, workers=workers, progress=progress)
    if origin:
        value["origin"] = dict(origin)
    write_json(out, value)
    return value


def read_snapshot(path: str | Path) -> dict[str, Any]:
    """Read a file that `write_snapshot` wrote.

    Raises:
        InputError: The file is missing or is not a snapshot.

    """
    value = read_json(path)
    files = value.get("files") if isinstance(value, dict) else None
    valid = isinstance(files, dict) and all(
        isinstance(entry, dict)
        and isinstance(entry.get("size"), int)
        and isinstance(entry.get("sha256"), str)
        for entry in files.values()
    )
    if not valid:
        raise InputError(
            path,
            "expected a snapshot (files with size and sha256), found other JSON",
            "write a new one: mambatalk snapshot ROOT --out FILE",
        )
    origin = value.get("origin", {})
    if not isinstance(origin, dict) or not all(
        name in ORIGIN and isinstance(text, str) for name, text in origin.items()
    ):
        raise InputError(
            path,
            f"expected an origin with texts for {', '.join(ORIGIN)}, found {origin!r:.120}",
            "write a new one: mambatalk snapshot ROOT --out FILE",
        )
    return value


def layout_files(root: Path) -> list[Path]:
    """Return the files of a corpus in the order of their paths, without those outside the layout.

    Raises:
        InputError: A folder cannot be read, or a file name contains control characters.

    """
    folders = [*(folder for folder, _ in FOLDERS.values()), WEIGHTS]
    names = [SPLIT_TABLE]
    for folder in folders:
        if (root / folder).is_dir():
            # Entries know whether they are files; a call of `stat` for each would take seconds.
            with (
                path_errors(root / folder, expected="a readable folder"),
                os.scandir(root / folder) as entries,
            ):
                found = [entry.name for entry in entries if entry.is_file()]
            names += [f"{folder}/{name}" for name in found if not name.startswith(".")]
    for name in names:
        if not name.isprintable():
            raise InputError(
                root,
                f"expected printable file names, found {name.rpartition('/')[2]!r}",
                "rename or remove the file",
            )
    return [root / name for name in sorted(names)]
