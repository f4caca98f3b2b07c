"""DVC as the launchers and flows run it: `python -m tasks.runtime.dvc_command repro`.

DVC ignores SIGINT while a stage runs, because Ctrl-C sends it to the stage as well, and at SIGTERM
it ends without waiting for the stage. Here either signal, sent to DVC or to both, ends the stage
first and then DVC; SIGINT sent to the stage alone ends DVC too. The exit code is DVC's, 130 for
SIGINT or 143 for SIGTERM. It is 1 where DVC reports that an output could not be stored in the
cache, but exits with 0.

A DVC that is killed while it writes one of its files does not stop the next build: `dvc.lock` is
written as a whole, and a truncated list of the files in use is removed.
"""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NoReturn

from mambatalk.files import atomic_file, remove_partial
from tasks.runtime.stopping import CHECKPOINT_SECONDS, ORPHAN_SECONDS, STOP_SECONDS

_STAGE_SECONDS: Final = CHECKPOINT_SECONDS + STOP_SECONDS + 1
"""Longer than a stage takes to end."""
CONTINUE: Final = "run the same command again to continue"
_NOT_STORED: Final = (
    "not every output could be stored in the cache, as said above; free some space, run "
    "`dvc commit --force` to store those in the checkout, and run the same command again"
)
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class _Errors(logging.Handler):
    """Notes that DVC has reported an error, for example that a file could not be stored."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen = False

    def emit(self, record: logging.LogRecord) -> None:
        """Note an error."""
        self.seen = True


class Stopped(KeyboardInterrupt):
    """A signal ends DVC. DVC handles its base class: it releases its locks and exits.

    Args:
        number: The signal.
        reported: Whether the stage has printed how to continue.

    """

    def __init__(self, number: int, *, reported: bool = False) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number
        self.reported = reported


def run_dvc(arguments: Sequence[str]) -> int:
    """Run a DVC command in this process, and return its exit code."""
    stopped: Stopped | None = None
    errors = _Errors()
    parent = os.getppid()

    def run_stage(executable: str | None, command: str, **options: Any) -> None:
        nonlocal stopped
        if stopped:
            # The signal came when the last stage had finished, and DVC has stored its outputs.
            raise stopped
        try:
            _run_stage(executable, command, options, parent)
        except Stopped as error:
            stopped = error
            raise

    def stop(number: int, frame: object) -> NoReturn:
        nonlocal stopped
        # Ctrl-C arrives from the terminal and from the launcher; only the first one counts.
        for one in _SIGNALS:
            signal.signal(one, signal.SIG_IGN)
        stopped = Stopped(number)
        raise stopped

    for number in _SIGNALS:
        signal.signal(number, stop)
    try:
        import dvc.dvcfile
        import dvc.stage.run
        from dvc.cli import main

        dvc.stage.run._run = run_stage
        dvc.dvcfile.modify_yaml = modify_yaml_whole
        remove_cut_locks(Path(".dvc/tmp"))
        logging.getLogger("dvc_data").addHandler(errors)
        code = main(list(arguments))
    except Stopped as error:
        stopped = error
        code = 1
    if code == 0 and errors.seen:
        sys.stderr.write(f"dvc: {_NOT_STORED}\n")
        return 1
    if stopped is None:
        return int(code)
    if not stopped.reported:
        sys.stderr.write(f"dvc: stopped by {stopped}; {CONTINUE}\n")
    return 128 + stopped.number


@contextmanager
def modify_yaml_whole(path: str, fs: Any = None) -> Iterator[Any]:
    """Yield the content of a YAML file to change, and write all of it or nothing.

    DVC writes `dvc.lock` in place after every stage. A DVC that is killed meanwhile leaves it
    empty, and every later build is refused.

    Args:
        path: The file.
        fs: DVC's file system, the local one.

    """
    from dvc.utils.serialize import modify_yaml

    # DVC's lock of the repository keeps other processes from writing the file meanwhile.
    remove_partial(path)
    with atomic_file(path) as temporary:
        if Path(path).exists():
            shutil.copyfile(path, temporary)
        with modify_yaml(str(temporary), fs=fs) as data:
            yield data


def remove_cut_locks(folder: Path) -> None:
    """Remove DVC's list of the files in use if it is truncated, because its writer was killed.

    DVC writes the list in place, and refuses every build while it is not valid JSON. It names the
    processes that read or write files of the checkout; a truncated list no longer does so reliably.

    Args:
        folder: DVC's folder for temporary files, `.dvc/tmp`.

    """
    from dvc.lock import LockError, make_lock
    from dvc.rwlock import RWLOCK_FILE, RWLOCK_LOCK

    path = folder / RWLOCK_FILE
    if not path.exists():
        return
    # A DVC that writes the file at this moment holds the lock. In a folder that cannot be written
    # to, DVC itself ends with one line.
    with suppress(LockError, OSError), make_lock(str(folder / RWLOCK_LOCK), tmp_dir=str(folder)):
        try:
            json.loads(path.read_bytes())
        except ValueError:
            path.unlink()
            sys.stderr.write(f"dvc: removed {path}, which a killed build had left cut short\n")


def _run_stage(executable: str | None, command: str, options: dict[str, Any], parent: int) -> None:
    """Run the command of a stage; takes the place of `dvc.stage.run._run`.

    Raises:
        Stopped: A signal has ended the stage.
        StageCmdFailedError: The command failed.

    """
    from dvc.stage.exceptions import StageCmdFailedError
    from dvc.stage.run import _make_cmd

    # A stage inherits the files whose locks a flow holds for it, so that a GPU is not free before
    # the training has ended. Python opens other files as not inheritable.
    inherited = {**options, "close_fds": False}
    process = subprocess.Popen(_make_cmd(executable, command), **inherited)
    try:
        code = process.wait()
    except Stopped as stopped:
        process.send_signal(stopped.number)
        orphaned = os.getppid() != parent
        try:
            code = process.wait(ORPHAN_SECONDS if orphaned else _STAGE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        if code:
            raise Stopped(stopped.number, reported=code == 128 + stopped.number) from None
    if code in (-signal.SIGINT, 128 + signal.SIGINT):
        raise Stopped(signal.SIGINT, reported=code > 0)
    if code:
        raise StageCmdFailedError(command, code)


if __name__ == "__main__":
    sys.exit(run_dvc(sys.argv[1:]))
