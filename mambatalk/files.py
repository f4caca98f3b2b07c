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
from typing import Any, Final

from mambatalk.errors import InputError

Source = str | Path | bytes
"""What readers of data files take: a path, or the content of the file."""

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_OF_PLACES: Final = _FULL | {
    errno.EACCES,
    errno.EEXIST,
    errno.EINVAL,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.ENOTEMPTY,
    errno.EPERM,
    errno.EROFS,
}
"""What a person can mend. What may pass by itself (EIO, ESTALE, ...) is not among it: a scheduler
tries that again.
"""


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary sibling of `path` that takes its name when the block ends well, and
    vanishes otherwise.

    Raises:
        InputError: No file can be written there, or the disk is full.

    """
    path = Path(path)
    make_folder(path.parent)
    with place_errors(path, expected="a file to write"):
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix
        )
    os.close(handle)
    temporary = Path(name)
    try:
        with full_disk_errors(path):
            yield temporary
        with place_errors(path, expected="a file to write"):
            temporary.chmod(0o644)
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: str | Path) -> Iterator[Path]:
    """Yield a temporary sibling directory that replaces `path` when the block ends well, and
    vanishes otherwise.

    Raises:
        InputError: No folder can be written there, or the disk is full.

    """
    path = Path(path)
    make_folder(path.parent)
    with place_errors(path, expected="a folder to write"):
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        with full_disk_errors(path):
            yield temporary
        with place_errors(path, expected="a folder to write"):
            temporary.chmod(0o755)
            shutil.rmtree(path, ignore_errors=True)
            temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def make_folder(folder: str | Path) -> None:
    """Make a folder where none is, or raise a InputError that says why not."""
    with place_errors(folder, expected="a folder to write to"):
        Path(folder).mkdir(parents=True, exist_ok=True)


@contextmanager
def full_disk_errors(path: str | Path) -> Iterator[None]:
    """Turn the error of a full disk into a InputError; any other may be about something else than
    `path`.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise InputError(
            path,
            f"expected room to write, found a full disk{_room(Path(path))}",
            "free some space and run the same command again; nothing half-written was kept",
        ) from error


@contextmanager
def place_errors(path: str | Path, *, expected: str) -> Iterator[None]:
    """Turn what is wrong with `path` itself, or the way to it, into a InputError."""
    try:
        with full_disk_errors(path):
            yield
    except OSError as error:
        if error.errno not in _OF_PLACES:
            raise
        raise InputError(
            path, f"expected {expected}, found {error.strerror}", "mend that or name another one"
        ) from error


def _room(path: Path) -> str:
    place = next((folder for folder in path.absolute().parents if folder.is_dir()), None)
    return f" ({shutil.disk_usage(place).free / 2**20:.0f} MiB free)" if place else ""


def cache_folder() -> Path:
    """Where to keep what can be made again: `MAMBATALK_CACHE`, by default runs/cache; to be deleted
    at any time.
    """
    return Path(os.environ.get("MAMBATALK_CACHE") or "runs/cache")


def load_bytes(source: Source, *, where: str | None, limit: int) -> tuple[bytes, str]:
    """Return the content of a source, and its name for error messages.

    Args:
        source: Path, or the content itself.
        where: Name for error messages; by default the path.
        limit: Most bytes that are read.

    Raises:
        InputError: The file is missing, unreadable, empty or larger than the limit.

    """
    name = where or ("given bytes" if isinstance(source, bytes) else str(source))
    try:
        size = len(source) if isinstance(source, bytes) else Path(source).stat().st_size
        if size > limit:
            raise InputError(
                name, f"expected at most {limit}, found {size} bytes", "check that this is the file"
            )
        data = source if isinstance(source, bytes) else Path(source).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            name, "expected a file of the corpus, found no such file", "check the path"
        ) from None
    except (IsADirectoryError, PermissionError) as error:
        raise InputError(
            name, f"expected a readable file, found {error.strerror}", "check the path"
        ) from None
    if not data:
        raise InputError(name, "expected content, found an empty file", "fetch the file again")
    return data, name


def write_json(path: str | Path, value: Any) -> None:
    """Write canonical JSON: sorted keys, two spaces, a final newline; NaN is refused."""
    with atomic_file(path) as temporary:
        temporary.write_text(
            json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8"
        )


def read_json(path: str | Path) -> Any:
    """Read JSON.

    Raises:
        InputError: The file is missing or is not JSON.

    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            path, "expected a JSON file, found no such file", "check the path"
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(
            path, f"expected a JSON file, found broken JSON ({error})", "make it again"
        ) from None


def sha256_file(path: str | Path) -> str:
    """Hexadecimal sha256 of a file's bytes.

    Raises:
        InputError: It cannot be read: no file, or no right to.

    """
    with place_errors(path, expected="a file to read"), Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(value: Any) -> str:
    """Hexadecimal sha256 of a JSON-able value, independent of key order."""
    return hashlib.sha256(
        json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    ).hexdigest()
