"""How a stage ended, for the program that runs it: `runs/STAGE/status.json`.

`dvc repro` exits with 255 for every kind of failure, so the kind is written to this file. A
scheduler retries failures that may pass by themselves (transient, interrupted) and no others;
"cancelled" is an interruption by SIGINT, which a person wanted. "damaged" means that a file which
the stage reads was damaged, and was removed, so that the whole build has to run again.
"""

import errno
import os
import signal
from pathlib import Path
from typing import Final, Literal

from mambatalk.errors import InputError
from mambatalk.files import write_json
from tasks.runtime.links import DamagedInputError
from tasks.runtime.stopping import Interrupted

Kind = Literal[
    "config",
    "data-contract",
    "damaged",
    "transient",
    "oom",
    "nan",
    "interrupted",
    "cancelled",
    "unexpected",
]
State = Literal["running", "succeeded", "failed"]

_TRANSIENT: Final = (
    errno.EAGAIN,
    errno.EBUSY,
    errno.ECONNABORTED,
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.EHOSTUNREACH,
    errno.EIO,
    errno.ENETUNREACH,
    errno.ESTALE,
    errno.ETIMEDOUT,
)


class DataContractError(InputError):
    """The data breaks a critical rule. The evidence has been written before this is raised."""


def write_status(
    folder: Path,
    stage: str,
    state: State,
    *,
    fingerprint: str | None,
    kind: Kind | None = None,
    message: str | None = None,
) -> None:
    """Replace a stage's status file.

    Args:
        folder: The stage's run folder, `runs/STAGE`.
        stage: Name of the stage.
        state: Current state of the stage.
        fingerprint: The stage's fingerprint, or None if it failed before that was known.
        kind: Kind of failure; only for the state "failed".
        message: Description of the failure; only for the state "failed".

    """
    status = {
        "stage": stage,
        "state": state,
        "kind": kind,
        "message": message,
        "fingerprint": fingerprint,
        "pid": os.getpid(),
    }
    write_json(folder / "status.json", status)


def failure_kind(error: BaseException) -> Kind:
    """Classify an exception."""
    if isinstance(error, KeyboardInterrupt):
        return "cancelled"
    if isinstance(error, Interrupted):
        return "cancelled" if error.number == signal.SIGINT else "interrupted"
    if isinstance(error, DataContractError):
        return "data-contract"
    if isinstance(error, DamagedInputError):
        return "damaged"
    if isinstance(error, InputError):
        return "config"
    if _is_out_of_memory(error):
        return "oom"
    if isinstance(error, FloatingPointError):
        return "nan"
    if isinstance(error, ConnectionError | TimeoutError):
        return "transient"
    if isinstance(error, OSError) and error.errno in _TRANSIENT:
        return "transient"
    return "unexpected"


def _is_out_of_memory(error: BaseException) -> bool:
    # By name, so that stages without networks need not import torch. Its CPU allocator raises a
    # plain RuntimeError.
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in str(error)
    )
