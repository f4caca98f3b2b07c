"""Checksums of cached files, so that damage is found before the files are used.

Bits that a disk, a memory module or an interrupted copy has changed would otherwise silently change
the trained model. All blocks are compared when a process opens the files, by several threads.
Reading afterwards costs nothing: a window is still a slice of a memory map.
"""

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from mambatalk.errors import InputError
from mambatalk.files import digest, read_json, write_json

CHECKSUMS: Final = "checksums.json"
BLOCK_BYTES: Final = 16 * 2**20
"""Bytes of one digest, and of the work that one thread takes at a time."""


def write_checksums(folder: Path) -> None:
    """Write size and block digests of every file of a folder to `checksums.json` in it."""
    files = _describe(folder)
    write_json(folder / CHECKSUMS, {"files": files, "digest": digest(files)})


def find_damage(folder: Path) -> str | None:
    """Compare the files of a folder with its `checksums.json`.

    Returns:
        What has changed, in a few words; None if every byte is as it was written.

    """
    written = _read_checksums(folder)
    if written is None:
        return f"no valid {CHECKSUMS}"
    # Sizes come first: a truncated file need not be read.
    if {name: entry["size"] for name, entry in written.items()} != _sizes(folder):
        return "files of other sizes than were written"
    for name, entry in _describe(folder).items():
        pairs = zip(entry["blocks"], written[name]["blocks"], strict=True)
        for number, (now, before) in enumerate(pairs):
            if now != before:
                return f"changed bytes in {name}, at or after byte {number * BLOCK_BYTES}"
    return None


def _read_checksums(folder: Path) -> dict[str, dict[str, Any]] | None:
    """Read `checksums.json`; None if it is missing or damaged itself."""
    try:
        content = read_json(folder / CHECKSUMS)
        files: dict[str, dict[str, Any]] = content["files"]
        return files if content["digest"] == digest(files) else None
    except (InputError, OSError, KeyError, TypeError):
        return None


def _sizes(folder: Path) -> dict[str, int]:
    files = (path for path in sorted(folder.iterdir()) if path.name != CHECKSUMS)
    return {path.name: path.stat().st_size for path in files}


def _describe(folder: Path) -> dict[str, dict[str, Any]]:
    """Return size and SHA-256 of every block of every file."""
    sizes = _sizes(folder)
    blocks = [(folder / name, start) for name, size in sizes.items() for start in _starts(size)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        digests = pool.map(lambda block: _block_digest(*block), blocks)
        return {
            name: {"size": size, "blocks": [next(digests) for _ in _starts(size)]}
            for name, size in sizes.items()
        }


def _starts(size: int) -> Iterator[int]:
    return iter(range(0, size, BLOCK_BYTES))


def _block_digest(path: Path, start: int) -> str:
    # Read, not mapped: the pages of a map would count as memory of this process.
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        return hashlib.sha256(file.read(BLOCK_BYTES)).hexdigest()
