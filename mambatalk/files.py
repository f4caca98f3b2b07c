"""Files that are whole or absent: atomic writes, canonical JSON, digests."""

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mambatalk.errors import UserError


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary sibling of `path` that takes its name when the block ends well, and vanishes otherwise.

    Raises:
        UserError: The disk is full.

    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        with _disk_errors(path):
            yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: str | Path) -> Iterator[Path]:
    """Yield a temporary sibling directory that replaces `path` when the block ends well, and vanishes otherwise.

    Raises:
        UserError: The disk is full.

    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        with _disk_errors(path):
            yield temporary
        temporary.chmod(0o755)
        shutil.rmtree(path, ignore_errors=True)
        temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        free = shutil.disk_usage(path.parent).free
        raise UserError(
            path, found=f"a full disk ({free / 2**20:.0f} MiB free)", expected="room to write",
            do="free some space and run the same command again; nothing half-written was kept",
        ) from error


def cache_folder() -> Path:
    """Where to keep what can be made again: `MAMBATALK_CACHE`, by default runs/cache; to be deleted at any time."""
    return Path(os.environ.get("MAMBATALK_CACHE") or "runs/cache")


def write_json(path: str | Path, value: Any) -> None:
    """Write canonical JSON: sorted keys, two spaces, a final newline; NaN is refused."""
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """Read JSON.

    Raises:
        UserError: The file is missing or is not JSON.

    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(path, found="no such file", expected="a JSON file", do="check the path") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(path, found=f"broken JSON ({error})", expected="a JSON file", do="make it again") from None


def sha256_file(path: str | Path) -> str:
    """Hexadecimal sha256 of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(value: Any) -> str:
    """Hexadecimal sha256 of a JSON-able value, independent of key order."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
