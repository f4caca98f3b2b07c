"""How every stage runs: one context, one tracked run, one line for bad input, exit codes.

Exit codes: 0 success; 1 the data failed its checks, or an unexpected error (with a traceback);
2 bad input; 143 stopped by SIGTERM.
"""

import fcntl
import logging
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NoReturn

import typer

from mambatalk.config import load_config
from mambatalk.errors import InputError
from tasks.runtime.command import run_command
from tasks.runtime.context import Run, StageContext
from tasks.runtime.paths import Paths
from tasks.runtime.processes import terminate_with_parent
from tasks.runtime.status import Interrupted, failure_kind, write_status
from tasks.runtime.view import restrict, stage_view
from tasks.tracking.recorder import recording

HELP_EPILOG: Final = (
    "Settings are in params.yaml. `dvc repro STAGE` runs the stages it depends on first."
)
_EXIT: Final = {"interrupted": 143, "config": 2}
_REPEAT_SECONDS: Final = 5


def workers() -> int:
    """Return the number of worker processes: `MAMBATALK_WORKERS`, or all processors."""
    return _count("MAMBATALK_WORKERS") or os.cpu_count() or 1


def threads() -> int:
    """Return the number of threads of every numeric library: `MAMBATALK_THREADS`, or 1.

    The number is fixed because sums depend on it in their last bits. On networks as small as the
    sample's, two threads are slower than one.
    """
    return _count("MAMBATALK_THREADS") or 1


def _count(name: str) -> int | None:
    text = os.environ.get(name)
    if text and not (text.isdecimal() and int(text)):
        raise InputError(
            name,
            f"expected a positive integer, found {text!r}",
            "set it to one, or unset it",
        )
    return int(text) if text else None


def stage_command(stage: str, run: Run, description: str | None) -> None:
    """Run a stage without arguments as the command `python -m tasks.STAGE`."""

    def command() -> None:
        raise typer.Exit(execute(stage, run))

    run_command(command, f"tasks.{stage}", description, epilog=HELP_EPILOG)


def execute(stage: str, run: Run, root: str | Path = ".") -> int:
    """Run one stage and return its exit code.

    Args:
        stage: Name in `dvc.yaml`, "train_vq@face" for a stage of a matrix.
        run: The stage.
        root: Folder of `dvc.yaml`.

    """
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("mambatalk").setLevel(logging.INFO)
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGALRM, _interrupt)
    # A killed DVC would leave this stage running, and the next build would start it again.
    terminate_with_parent()

    paths = Paths(root)
    # The library's default is relative to the working directory, which may be another folder.
    os.environ.setdefault("MAMBATALK_CACHE", str(paths.root / "runs/cache"))
    folder = paths.run_folder(stage)
    fingerprint = None
    try:
        with stage_lock(folder, stage):
            config = load_config(paths.params)
            view = stage_view(stage, root=paths.root)
            fingerprint = view.fingerprint
            write_status(folder, stage, "running", fingerprint=fingerprint)
            _limit_threads()
            with recording(stage, config, view, root=paths.root) as recorder:
                context = StageContext(
                    stage=stage,
                    config=restrict(config, view.params),
                    recorder=recorder,
                    fingerprint=fingerprint,
                    paths=paths,
                )
                run(context)
            _ignore_signals()
            # At full size a checkpoint is 2.4 GB, and a finished stage has no use for it.
            shutil.rmtree(context.scratch, ignore_errors=True)
            write_status(folder, stage, "succeeded", fingerprint=fingerprint)
            return 0
    except BaseException as error:
        return _report_failure(folder, stage, error, fingerprint)


def _report_failure(folder: Path, stage: str, error: BaseException, fingerprint: str | None) -> int:
    _ignore_signals()
    kind = failure_kind(error)
    if isinstance(error, InputError):
        sys.stderr.write(f"{stage}: {error}\n")
    elif kind == "interrupted":
        sys.stderr.write(f"{stage}: stopped by a signal; run the same command again to continue\n")
    elif kind == "unexpected":
        traceback.print_exception(error)
    else:
        sys.stderr.write(f"{stage}: {kind}: {error}\n")
    message = f"{type(error).__name__}: {error}" if kind == "unexpected" else str(error)
    # On a full disk the status cannot be written either.
    with suppress(OSError, InputError):
        write_status(folder, stage, "failed", fingerprint=fingerprint, kind=kind, message=message)
    return _EXIT.get(kind, 1)


def _interrupt(number: int, frame: object) -> NoReturn:
    # The interpreter swallows exceptions that are raised in some of its callbacks (a finaliser, for
    # example), so the signal is repeated until the stage ends.
    signal.alarm(_REPEAT_SECONDS)
    raise Interrupted(f"signal {number}")


def _ignore_signals() -> None:
    """Ignore further signals, so that the last status is written."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.alarm(0)


@contextmanager
def stage_lock(folder: Path, stage: str) -> Iterator[None]:
    """Hold the lock of a stage, so that two processes never write the same outputs.

    Raises:
        InputError: Another process holds it.

    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"stage {stage}",
                "is already running in this checkout",
                "wait for it or stop it",
            ) from None
        yield


def _limit_threads() -> None:
    from threadpoolctl import threadpool_limits

    os.environ["OMP_NUM_THREADS"] = str(threads())
    threadpool_limits(threads())
