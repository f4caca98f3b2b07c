"""Checkpoints: states of a training on disk, written while the training goes on.

A checkpoint has its digest in its name. It is written under another name, synchronised to the disk
and then renamed, so a file with the name of a checkpoint is complete unless the disk changed it
later, which the digest reveals. The two newest are kept; the older one is used if the newer one is
damaged.
"""

import hashlib
import logging
import os
import pickle
import re
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, NamedTuple

import torch

from mambatalk.errors import InputError
from mambatalk.files import make_folder, path_errors, sha256_file

log = logging.getLogger(__name__)

KEPT: Final = 2
PARTIAL: Final = "writing.partial"
"""Name of a checkpoint that is being written. One that a killed process left is overwritten."""
_NAME: Final = re.compile(r"state-(\d{6})-(\d{8})-([0-9a-f]{64})\.pt")


class Position(NamedTuple):
    """How far a training has come."""

    epoch: int
    """Number of finished epochs."""
    number: int
    """Number of steps made in the next one."""


Content = dict[str, Any]
"""Tensors and plain values, nested in dictionaries, lists and tuples."""


class Checkpoints:
    """The checkpoints of one training. As a context manager, waits at its end for the last write.

    Args:
        folder: Folder for these checkpoints alone. If None, nothing is written or read.
        seconds: Time from one checkpoint until the next is due.

    Raises:
        InputError: The folder cannot be written to.

    """

    def __init__(self, folder: Path | None, *, seconds: float) -> None:
        self.folder = folder
        self.seconds = seconds
        self._started = time.monotonic()
        self._newest: Position | None = None
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None
        if folder is not None:
            # Fail here, and not at the first write after five minutes of training.
            make_folder(folder)
            with path_errors(folder, expected="a writable folder"):
                (folder / PARTIAL).write_bytes(b"")
                (folder / PARTIAL).unlink()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # An error of the training says more than one of the write that ran beside it.
        with suppress(*([] if error is None else [Exception])):
            self.wait()
        self._writer.shutdown()

    def newest(self) -> tuple[Path, Content] | None:
        """Read the newest checkpoint that is intact, with its path; None if there is none.

        Damaged checkpoints are deleted, with a warning.

        Raises:
            InputError: An intact file is not a checkpoint.

        """
        if self.folder is None:
            return None
        for path in reversed(_checkpoints(self.folder)):
            if _is_intact(path):
                self._newest = _position(path)
                return path, load(path)
            path.unlink()
            log.warning("%s: deleted this damaged checkpoint; looking for the one before it", path)
        return None

    def due(self) -> bool:
        """Return whether the last checkpoint was started `seconds` ago or earlier.

        Raises:
            InputError: The last write has failed: the folder cannot be written to, or the disk is
                full. The earlier checkpoints are kept.

        """
        if self.folder is None:
            return False
        if self._pending is not None and self._pending.done():
            self.wait()
        return time.monotonic() - self._started >= self.seconds

    def save(self, position: Position, snapshot: Callable[[], Content]) -> None:
        """Start to write a checkpoint, unless the last one has the same position.

        If the last one is still being written, wait for it first.

        Args:
            position: Present position.
            snapshot: Returns a copy of the state that the training does not change any more.

        Raises:
            InputError: As `due`.

        """
        if self.folder is None or position == self._newest:
            return
        self.wait()
        self._started = time.monotonic()
        self._newest = position
        self._pending = self._writer.submit(_write, self.folder, position, snapshot())

    def wait(self) -> None:
        """Wait for the write that is going on, if any. Raises what `due` raises."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()


class _DigestingFile:
    """A binary file that computes the SHA-256 of what is written to it.

    Args:
        file: File to write to.

    Attributes:
        error: What a write has raised. `torch.save` replaces it with an error of its own.

    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.error: OSError | None = None

    def write(self, data: bytes | memoryview) -> int:
        """Write some bytes."""
        try:
            self._file.write(data)
        except OSError as error:
            self.error = error
            raise
        self._digest.update(data)
        return len(data)

    def flush(self) -> None:
        """Do nothing: the owner of the file flushes it."""

    def hexdigest(self) -> str:
        """Return the digest of all bytes so far."""
        return self._digest.hexdigest()


def _write(folder: Path, position: Position, content: Content) -> None:
    partial = folder / PARTIAL
    try:
        with path_errors(folder, expected="a writable folder"):
            with partial.open("wb") as file:
                digest = _save(content, file)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(
                folder / f"state-{position.epoch:06d}-{position.number:08d}-{digest}.pt"
            )
            _synchronise(folder)
    finally:
        partial.unlink(missing_ok=True)
    for path in _checkpoints(folder)[:-KEPT]:
        path.unlink()


def _save(content: Content, file: BinaryIO) -> str:
    """Write a state to a file and return the SHA-256 of its bytes."""
    digesting = _DigestingFile(file)
    try:
        torch.save(content, digesting)  # type: ignore[arg-type]
    except (OSError, RuntimeError):
        if digesting.error is not None:
            raise digesting.error from None
        raise
    return digesting.hexdigest()


def _synchronise(folder: Path) -> None:
    """Write the entries of a folder to the disk, so that a new name survives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints of a folder in the order of their positions."""
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))


def _position(path: Path) -> Position:
    found = _NAME.fullmatch(path.name)
    assert found
    return Position(int(found[1]), int(found[2]))


def _is_intact(path: Path) -> bool:
    found = _NAME.fullmatch(path.name)
    return found is not None and sha256_file(path) == found[3]


def load(path: Path) -> Content:
    """Read a checkpoint.

    Raises:
        InputError: The file is not a checkpoint.

    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            path,
            f"expected a checkpoint, found a file that does not load ({reason})",
            "delete it to continue from the one before",
        ) from None
    return content
