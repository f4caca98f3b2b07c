"""The snapshot of a corpus: path, size and sha256 of every file of its layout. The only data
dependency of a build.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mambatalk.corpus.layout import FOLDERS, SPLIT_TABLE, WEIGHTS, check_root
from mambatalk.errors import InputError
from mambatalk.files import digest, place_errors, read_json, sha256_file, write_json

Progress = Callable[[int, int], None]
"""Called with the number of things done and the number in all."""


def snapshot(
    root: str | Path, *, workers: int = 2, progress: Progress | None = None
) -> dict[str, Any]:
    """Describe a corpus so that any change of a byte shows.

    Args:
        root: Language folder in BEATX layout; what stands beside the layout's own files is not
            looked at.
        workers: Files hashed at a time.
        progress: Told after each file.

    Returns:
        `{"layout": "BEATX", "files": {path: {"size", "sha256"}}, "digest"}`: paths relative and
        sorted, sizes in bytes, the digest over all files.

    Raises:
        InputError: `root` is no corpus, a file cannot be read, or its name holds control characters.

    """
    root = check_root(root)
    paths = _layout_files(root)
    files = {}
    with ThreadPoolExecutor(workers) as pool:
        for done, (path, sha256) in enumerate(
            zip(paths, pool.map(sha256_file, paths), strict=True), start=1
        ):
            with place_errors(path, expected="a file to read"):
                files[path.relative_to(root).as_posix()] = {
                    "size": path.stat().st_size,
                    "sha256": sha256,
                }
            if progress is not None:
                progress(done, len(paths))
    return {"layout": "BEATX", "files": files, "digest": digest(files)}


def write_snapshot(
    root: str | Path, out: str | Path, *, workers: int = 2, progress: Progress | None = None
) -> dict[str, Any]:
    """Write `snapshot(root)` as JSON, whole or not at all, and return it."""
    value = snapshot(root, workers=workers, progress=progress)
    write_json(out, value)
    return value


def read_snapshot(path: str | Path) -> dict[str, Any]:
    """Read what `write_snapshot` wrote.

    Raises:
        InputError: The file is missing, or is no snapshot.

    """
    value = read_json(path)
    files = value.get("files") if isinstance(value, dict) else None
    whole = isinstance(files, dict) and all(
        isinstance(entry, dict)
        and isinstance(entry.get("size"), int)
        and isinstance(entry.get("sha256"), str)
        for entry in files.values()
    )
    if not whole:
        raise InputError(
            path,
            "expected a snapshot: files with size and sha256, found JSON of another kind",
            "make it again: mambatalk snapshot ROOT",
        )
    return value


def _layout_files(root: Path) -> list[Path]:
    folders = [*(folder for folder, _ in FOLDERS.values()), WEIGHTS]
    paths = [root / SPLIT_TABLE]
    for folder in folders:
        if (root / folder).is_dir():
            with place_errors(root / folder, expected="a folder to read"):
                found = list((root / folder).iterdir())
            paths += [path for path in found if path.is_file() and not path.name.startswith(".")]
    for path in paths:
        if not path.name.isprintable():
            raise InputError(
                root,
                f"expected printable names, found the file name {path.name!r}",
                "rename or remove the file",
            )
    return sorted(paths, key=lambda path: path.relative_to(root).as_posix())
