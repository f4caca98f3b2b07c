"""How every stage runs: one context, one tracked run, one line for bad input, exit codes.

Exit codes: 0 success; 1 the data failed its checks, or an unexpected error (with a traceback);
2 bad input; 130 stopped by SIGINT; 143 stopped by SIGTERM.
"""

import fcntl
import logging
import os
import shutil
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TextIO

import typer

from mambatalk.config import load_config
from mambatalk.errors import InputError
from mambatalk.files import make_folder, path_errors, remove_partial
from tasks.runtime.command import run_command
from tasks.runtime.context import Run, StageContext, is_assistant
from tasks.runtime.links import remove_damaged
from tasks.runtime.origin import write_origin
from tasks.runtime.paths import Paths
from tasks.runtime.status import failure_kind, write_status
from tasks.runtime.stopping import ignore_signals, stop_at_signals
from tasks.runtime.view import restrict, stage_view
from tasks.tracking.recorder import Recorder, recording
from tasks.tracking.store import lineage

HELP_EPILOG: Final = (
    "Settings are in params.yaml. `dvc repro STAGE` runs the stages it depends on first."
)
_EXIT: Final = {"interrupted": 143, "cancelled": 130, "config": 2}
_POLL_SECONDS: Final = 0.1
_LOCK_SECONDS: Final = 5
"""Longer than a stage lives on after its DVC was killed."""


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
    paths = Paths(root)
    # The library's default is relative to the working directory, which may be another folder.
    os.environ.setdefault("MAMBATALK_CACHE", str(paths.root / "runs/cache"))
    if is_assistant():
        return _assist(stage, run, paths)
    folder = paths.run_folder(stage)
    fingerprint = None
    reported = threading.Event()

    def report_failure(error: BaseException) -> int:
        # Both threads may come here, the second one after its deadline.
        if not reported.is_set():
            reported.set()
            _report_failure(folder, stage, error, fingerprint)
        return _EXIT.get(failure_kind(error), 1)

    stop_at_signals(report_failure)
    try:
        with stage_lock(folder, stage):
            config = load_config(paths.params)
            view = stage_view(stage, root=paths.root)
            fingerprint = view.fingerprint
            write_status(folder, stage, "running", fingerprint=fingerprint)
            remove_damaged(view.links, paths.root)
            for path in view.outputs:
                remove_partial(path)
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
            ignore_signals()
            # At full size a checkpoint is 2.4 GB, and a finished stage has no use for it.
            shutil.rmtree(context.scratch, ignore_errors=True)
            write_origin(folder, fingerprint, lineage(config, paths.root))
            write_status(folder, stage, "succeeded", fingerprint=fingerprint)
            return 0
    except BaseException as error:
        ignore_signals()
        code = report_failure(error)
        if failure_kind(error) in ("interrupted", "cancelled"):
            # Python's own exit takes seconds with all that a stage imports.
            os._exit(code)
        return code


def _assist(stage: str, run: Run, paths: Paths) -> int:
    """Run a training stage in a further process of torchrun, which records and writes nothing."""
    stop_at_signals(lambda error: None)
    try:
        view = stage_view(stage, root=paths.root)
        _limit_threads()
        run(
            StageContext(
                stage=stage,
                config=restrict(load_config(paths.params), view.params),
                recorder=Recorder(stage, {}),
                fingerprint=view.fingerprint,
                paths=paths,
            )
        )
        return 0
    except BaseException as error:
        ignore_signals()
        # The first process reports the same, unless this one is without a GPU.
        if isinstance(error, InputError):
            sys.stderr.write(f"{stage}: {error}\n")
        elif failure_kind(error) == "unexpected":
            traceback.print_exception(error)
        return _EXIT.get(failure_kind(error), 1)


def _report_failure(
    folder: Path, stage: str, error: BaseException, fingerprint: str | None
) -> None:
    kind = failure_kind(error)
    if isinstance(error, InputError):
        sys.stderr.write(f"{stage}: {error}\n")
    elif kind in ("interrupted", "cancelled"):
        sys.stderr.write(f"{stage}: stopped by {error}; run the same command again to continue\n")
    elif kind == "unexpected":
        traceback.print_exception(error)
    else:
        sys.stderr.write(f"{stage}: {kind}: {error}\n")
    message = f"{type(error).__name__}: {error}" if kind == "unexpected" else str(error)
    # On a full disk the status cannot be written either.
    with suppress(OSError, InputError):
        write_status(folder, stage, "failed", fingerprint=fingerprint, kind=kind, message=message)


@contextmanager
def stage_lock(folder: Path, stage: str) -> Iterator[None]:
    """Hold the lock of a stage, so that two processes never write the same outputs.

    A process that holds it may be about to end, because its DVC was killed, and is waited for.

    Raises:
        InputError: Another process holds it, and keeps it for `_LOCK_SECONDS`; or the folder cannot
            be written to.

    """
    make_folder(folder)
    with path_errors(folder, expected="a writable folder"):
        lock = (folder / "lock").open("w")
    with lock as file:
        if not _acquire(file):
            sys.stderr.write(f"{stage}: waiting for an earlier run of this stage to end\n")
            deadline = time.monotonic() + _LOCK_SECONDS
            while not _acquire(file):
                if time.monotonic() > deadline:
                    raise InputError(
                        f"stage {stage}",
                        "is already running in this checkout",
                        "wait for it or stop it",
                    )
                time.sleep(_POLL_SECONDS)
        yield


def _acquire(file: TextIO) -> bool:
    """Acquire a lock on an open file, and return whether no other process holds it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _limit_threads() -> None:
    from threadpoolctl import threadpool_limits

    os.environ["OMP_NUM_THREADS"] = str(threads())
    threadpool_limits(threads())
