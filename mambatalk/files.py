"""Atomic writes, canonical JSON, digests, and the lock of the cache of compiled functions.

A file or folder written through this module is either complete or absent, so an interrupted run
leaves nothing half-written behind.
"""

import errno
import glob
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from mambatalk.errors import InputError

Source = str | Path | bytes
"""Input of a reader: a path, or the content of the file."""

_DISK_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_PATH_ERRORS: Final = _DISK_FULL | {
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
"""Errors that the user can fix. Transient ones (EIO, ESTALE, ...) are left out, so that a
scheduler sees them and retries.
"""


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary file that replaces `path` when the block succeeds.

    The temporary file is in the same folder, so the final rename is atomic. If the block raises,
    the file is removed and `path` stays as it was.

    Raises:
        InputError: The file cannot be written, or the disk is full.

    """
    path = Path(path)
    make_folder(path.parent)
    with path_errors(path, expected="a writable file"):
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix
        )
    os.close(handle)
    temporary = Path(name)
    try:
        with full_disk_errors(path):
            yield temporary
        with path_errors(path, expected="a writable file"):
            # Temporary files are readable by their owner only.
            temporary.chmod(0o644)
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder that replaces `path` when the block succeeds.

    If the block raises, the folder is removed and `path` stays as it was.

    Raises:
        InputError: The folder cannot be written, or the disk is full.

    """
    path = Path(path)
    make_folder(path.parent)
    with path_errors(path, expected="a writable folder"):
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        with full_disk_errors(path):
            yield temporary
        with path_errors(path, expected="a writable folder"):
            temporary.chmod(0o755)
            # A rename cannot replace a folder that has files.
            shutil.rmtree(path, ignore_errors=True)
            temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_partial(path: str | Path) -> None:
    """Delete what `atomic_file` and `atomic_directory` leave beside `path` if they are killed.

    Only for the one process that writes `path`: others may be about to rename their temporary file.
    """
    path = Path(path)
    partial = re.compile(rf"\.{re.escape(path.name)}\.[a-z0-9_]{{8}}({re.escape(path.suffix)})?")
    for found in path.parent.glob(f".{glob.escape(path.name)}.*"):
        if not partial.fullmatch(found.name):
            continue
        if found.is_dir():
            shutil.rmtree(found, ignore_errors=True)
        else:
            found.unlink(missing_ok=True)


def make_folder(folder: str | Path) -> None:
    """Create a folder and its parents if they do not exist.

    Raises:
        InputError: The folder cannot be created.

    """
    with path_errors(folder, expected="a writable folder"):
        Path(folder).mkdir(parents=True, exist_ok=True)


@contextmanager
def full_disk_errors(path: str | Path) -> Iterator[None]:
    """Convert the error of a full disk into `InputError`.

    Other errors pass through, because they may be about another file than `path`.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK_FULL:
            raise
        raise InputError(
            path,
            f"expected free disk space, found a full disk{_free_space(Path(path))}",
            "free some space and run the same command again; no partial file was kept",
        ) from error


@contextmanager
def path_errors(path: str | Path, *, expected: str) -> Iterator[None]:
    """Convert errors about `path` itself, such as missing permission, into `InputError`.

    Args:
        path: The path that the block reads or writes.
        expected: What the path should be, for example "a readable file".

    """
    try:
        with full_disk_errors(path):
            yield
    except OSError as error:
        if error.errno not in _PATH_ERRORS:
            raise
        raise InputError(
            path,
            f"expected {expected}, found: {error.strerror}",
            "check the path and its permissions",
        ) from error


def _free_space(path: Path) -> str:
    existing = [folder for folder in path.absolute().parents if folder.is_dir()]
    if not existing:
        return ""
    free = shutil.disk_usage(existing[0]).free
    return f" ({free / 2**20:.0f} MiB free)"


def cache_folder() -> Path:
    """Return the folder for data that can be rebuilt, and may be deleted at any time.

    It is `MAMBATALK_CACHE` if that is set, and `runs/cache` otherwise.
    """
    return Path(os.environ.get("MAMBATALK_CACHE") or "runs/cache")


def load_bytes(source: Source, *, where: str | None, limit: int) -> tuple[bytes, str]:
    """Read a source of at most `limit` bytes.

    Args:
        source: Path, or the file's bytes.
        where: Location shown in error messages. If None, use the path.
        limit: Largest accepted size in bytes. It is checked before the file is read.

    Returns:
        The bytes, and the location to show in further error messages.

    Raises:
        InputError: The file is missing, is not a regular file, is empty or too large.

    """
    name = where or ("given bytes" if isinstance(source, bytes) else str(source))
    try:
        size = len(source) if isinstance(source, bytes) else Path(source).stat().st_size
        if size > limit:
            raise InputError(
                name,
                f"expected at most {limit} bytes, found {size} bytes",
                "check that this is the right file",
            )
        data = source if isinstance(source, bytes) else Path(source).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            name, "expected a readable file, found no such file", "check the path"
        ) from None
    except (IsADirectoryError, PermissionError) as error:
        raise InputError(
            name, f"expected a readable file, found: {error.strerror}", "check the path"
        ) from None
    if not data:
        raise InputError(
            name, "expected content, found an empty file", "download or copy the file again"
        )
    return data, name


def write_json(path: str | Path, value: Any) -> None:
    """Write canonical JSON: sorted keys, an indent of two spaces and a final newline.

    Raises:
        ValueError: `value` contains NaN or infinity.
        InputError: The file cannot be written, or the disk is full.

    """
    text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False)
    with atomic_file(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

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
            path, f"expected a JSON file, found invalid JSON ({error})", "write the file again"
        ) from None


def sha256_file(path: str | Path) -> str:
    """Return the hexadecimal SHA-256 of a file's bytes.

    Raises:
        InputError: The file is missing or cannot be read.

    """
    with path_errors(path, expected="a readable file"), Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(value: Any) -> str:
    """Return the hexadecimal SHA-256 of a JSON-serialisable value, independent of key order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


@contextmanager
def compile_lock() -> Iterator[None]:
    """Hold a lock for the length of the block, in which numba compiles functions.

    The first process compiles into a cache that all processes of the environment share. Two
    processes that fill it at the same time can leave code there that crashes.
    """
    from filelock import FileLock

    with FileLock(Path(tempfile.gettempdir()) / f"mambatalk-numba-{os.getuid()}.lock"):
        yield
