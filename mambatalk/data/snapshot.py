"""What a corpus is, in one small file: path, size and sha256 of everything in it that is ever read.

Kept in git, the snapshot is the pipeline's only data dependency: a new one is what triggers retraining.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mambatalk.data.corpus import FOLDERS, SPLIT_FILE, WEIGHTS_FOLDER, check_root
from mambatalk.errors import UserError
from mambatalk.files import digest, sha256_file, write_json

LAYOUT = "BEATX"


def snapshot(root: str | Path, *, progress: Callable[[int, int], None] | None = None) -> dict[str, Any]:
    """Describe a corpus: `layout`, `files` (relative path to `size` and `sha256`) and one `digest` of all files.

    Args:
        root: Language folder in BEATX layout.
        progress: Called with (files done, files in all).

    Raises:
        UserError: Not a corpus, or a file name that cannot be written down.

    """
    root = check_root(root)
    paths = sorted(_paths(root))
    files: dict[str, dict[str, Any]] = {}
    with ThreadPoolExecutor() as pool:  # Hashing lets go of the interpreter lock.
        for done, (path, sha256) in enumerate(zip(paths, pool.map(sha256_file, paths), strict=True), 1):
            files[_name(root, path)] = {"size": path.stat().st_size, "sha256": sha256}
            if progress:
                progress(done, len(paths))
    return {"layout": LAYOUT, "files": files, "digest": digest(files)}


def write_snapshot(root: str | Path, out: str | Path, *, progress: Callable[[int, int], None] | None = None
                   ) -> dict[str, Any]:
    """Write `snapshot(root)` as JSON and return it."""
    taken = snapshot(root, progress=progress)
    write_json(out, taken)
    return taken


def _paths(root: Path) -> Iterator[Path]:
    yield root / SPLIT_FILE
    for folder, suffix in (*FOLDERS.values(), (WEIGHTS_FOLDER, "")):
        for path in (root / folder).glob(f"*{suffix}"):
            if path.is_file() and not path.name.startswith("."):
                yield path


def _name(root: Path, path: Path) -> str:
    name = path.relative_to(root).as_posix()
    if not name.isprintable():  # Control characters and undecodable bytes.
        raise UserError(root, found=f"a file named {ascii(name)}", expected="printable names", do="rename it")
    return name
