"""Records of a stage on disk, on their way to MLflow.

A spool is an append-only file of JSON lines under `MAMBATALK_HOME/spool`; what it holds is the
truth, and MLflow gets a copy. Beside it, `NAME.sent` says how far the copy is and names the MLflow
run. A process that is killed between sending and noting this sends the same records again, which
MLflow recognises: points with the same key, time, step and value, and the same run by its tag.
"""

import fcntl
import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from mambatalk.files import write_json
from tasks.tracking.store import home

SUFFIX: Final = ".jsonl"

Record = dict[str, Any]
"""One line: "kind" and what belongs to it; `tasks.tracking.sender` lists the kinds."""


class SpoolInUseError(OSError):
    """Another process holds the spool."""


@dataclass
class Sent:
    """How much of a spool MLflow has."""

    offset: int = 0
    """Bytes of the spool."""
    run_id: str | None = None


class Spool:
    """An open spool, which no other process can open at the same time.

    Args:
        path: The file; it is created if there is none. A last line that was cut off by a crash is
            removed.

    Raises:
        SpoolInUseError: Another process holds it.
        OSError: The file cannot be written.

    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._file: BinaryIO = path.open("ab+", buffering=0)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise SpoolInUseError(f"{path} is in use") from None
        content = path.read_bytes()
        self._file.truncate(content.rfind(b"\n") + 1)
        self.sent = self._read_sent()

    def append(self, record: Record) -> None:
        """Add a record. It is safe once this returns, unless the machine itself stops."""
        line = json.dumps(record, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            self._file.write(line)

    def records(self, offset: int = 0) -> Iterator[tuple[Record, int]]:
        """Yield the records from an offset on, each with the offset of its end."""
        with self.path.open("rb") as file:
            file.seek(offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                offset += len(line)
                yield json.loads(line), offset

    def unsent(self) -> list[tuple[Record, int]]:
        """Return the records that MLflow does not have yet."""
        return list(self.records(self.sent.offset))

    def note_sent(self, offset: int) -> None:
        """Note that MLflow has all records up to an offset."""
        self.sent.offset = offset
        self._write_sent()

    def note_run(self, run_id: str) -> None:
        """Note the MLflow run of this spool."""
        self.sent.run_id = run_id
        self._write_sent()

    def close(self, *, delete: bool = False) -> None:
        """Release the spool.

        Args:
            delete: Whether to delete it, because MLflow has everything and nothing will follow.

        """
        if delete:
            self.path.unlink(missing_ok=True)
            self._sent_path.unlink(missing_ok=True)
        self._file.close()

    @property
    def _sent_path(self) -> Path:
        return self.path.with_suffix(".sent")

    def _read_sent(self) -> Sent:
        with suppress(FileNotFoundError, json.JSONDecodeError):
            return Sent(**json.loads(self._sent_path.read_text(encoding="utf-8")))
        return Sent()

    def _write_sent(self) -> None:
        write_json(self._sent_path, vars(self.sent))


def spool_folder() -> Path:
    """Return the folder of all spools."""
    return home() / "spool"


def waiting_spools() -> list[Path]:
    """Return all spools, those of running stages included."""
    return sorted(spool_folder().glob(f"*{SUFFIX}"))
