"""How a stage ended, for whoever runs it: `runs/STAGE/status.json`, outside the outputs that DVC
wipes.

`dvc repro` answers 255 whatever went wrong, so the kind of failure travels in this file; a
scheduler retries what may pass by itself (transient, interrupted) and nothing else.
"""

import errno
import os
from pathlib import Path
from typing import Final, Literal

from mambatalk.errors import InputError
from mambatalk.files import write_json

Kind = Literal["config", "data-contract", "transient", "oom", "nan", "interrupted", "unexpected"]

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
    """The data broke a rule that nothing downstream may build on; the evidence is written before
    this is raised.
    """


class Interrupted(BaseException):
    """SIGTERM arrived."""


def scratch(stage: str) -> Path:
    """Folder of a stage for what is no output: status, evidence, checkpoints. `MAMBATALK_RUNS`
    moves it off `runs/`.
    """
    return Path(os.environ.get("MAMBATALK_RUNS", "runs")) / stage


def write_status(
    stage: str,
    state: Literal["running", "succeeded", "failed"],
    *,
    fingerprint: str | None,
    kind: Kind | None = None,
    message: str | None = None,
) -> None:
    """Replace the stage's status; `kind` and `message` belong to "failed"."""
    write_json(
        scratch(stage) / "status.json",
        {
            "stage": stage,
            "state": state,
            "kind": kind,
            "message": message,
            "fingerprint": fingerprint,
            "pid": os.getpid(),
        },
    )


def failure_kind(error: BaseException) -> Kind:
    """What sort of failure an exception is."""
    if isinstance(error, Interrupted | KeyboardInterrupt):
        return "interrupted"
    if isinstance(error, DataContractError):
        return "data-contract"
    if isinstance(error, InputError):
        return "config"
    # The second is torch's error on CUDA; its CPU allocator raises a plain RuntimeError.
    if (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in str(error)
    ):
        return "oom"
    if isinstance(error, FloatingPointError):
        return "nan"
    if isinstance(error, ConnectionError | TimeoutError) or (
        isinstance(error, OSError) and error.errno in _TRANSIENT
    ):
        return "transient"
    return "unexpected"
