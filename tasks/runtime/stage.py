"""How every stage runs: configuration in, one tracked run, one line for bad input, exit codes that
scripts can read.

0 done; 1 the data failed its checks, or a fault of ours (with a traceback); 2 bad input; 143
stopped by SIGTERM.
"""

import ctypes
import fcntl
import logging
import os
import signal
import sys
import traceback
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final, NoReturn

from mambatalk.config import Config, load_config
from mambatalk.errors import InputError
from tasks.runtime.status import Interrupted, failure_kind, scratch, write_status
from tasks.runtime.view import PARAMS, restrict, stage_view
from tasks.tracking.recorder import Recorder, recording

Work = Callable[[Config, Recorder], None]
_SET_PARENT_DEATH_SIGNAL: Final = 1
_EXIT: Final = {"interrupted": 143, "config": 2}
_AGAIN_SECONDS: Final = 5


def workers() -> int:
    """Processes a stage may use, from `MAMBATALK_WORKERS`; all processors otherwise."""
    return _count("MAMBATALK_WORKERS") or os.cpu_count() or 1


def threads() -> int:
    """Threads of every numeric library, from `MAMBATALK_THREADS`; fixed, since their number changes
    the last bits.

    One unless it says so: on networks as small as the sample's, two are slower than one.
    """
    return _count("MAMBATALK_THREADS") or 1


def _count(name: str) -> int | None:
    text = os.environ.get(name)
    if text and not (text.isdecimal() and int(text)):
        raise InputError(
            name,
            f"expected a whole number from 1, found {repr(text)}",
            "set it to one, or unset it",
        )
    return int(text) if text else None


def stage_command(stage: str, work: Work, about: str | None) -> NoReturn:
    """Be `python -m tasks.STAGE`, which takes no arguments and tells `--help` what it is."""
    command_parser(f"python -m tasks.{stage}", about).parse_args()
    sys.exit(execute(stage, work))


def command_parser(name: str, about: str | None) -> ArgumentParser:
    """Read a stage's arguments, if it has any; its settings are no arguments."""
    return ArgumentParser(
        prog=name,
        description=about,
        formatter_class=RawDescriptionHelpFormatter,
        epilog=(
            "Its settings stand in params.yaml. Under `dvc repro STAGE` what it depends on runs before it."
        ),
    )


def execute(stage: str, work: Work) -> int:
    """Run one stage's work under its name in `dvc.yaml` ("train_vq@face") and return the exit code.

    `work` gets the configuration, with all that `dvc.yaml` does not name for this stage barred, and
    the run's recorder.
    """
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("mambatalk").setLevel(logging.INFO)
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGALRM, _interrupt)
    _die_with_parent()
    fingerprint = None
    try:
        with only_one(stage):
            config = load_config(PARAMS)
            view = stage_view(stage)
            fingerprint = view.fingerprint
            write_status(stage, "running", fingerprint=fingerprint)
            _fix_threads()
            with recording(stage, config, view) as recorder:
                work(restrict(config, view.params), recorder)
            _stop_listening()
            write_status(stage, "succeeded", fingerprint=fingerprint)
            return 0
    except BaseException as error:
        return _failed(stage, error, fingerprint)


def _failed(stage: str, error: BaseException, fingerprint: str | None) -> int:
    _stop_listening()
    kind = failure_kind(error)
    if isinstance(error, InputError):
        sys.stderr.write(f"{stage}: {error}\n")
    elif kind == "interrupted":
        sys.stderr.write(f"{stage}: stopped by a signal; run the same command again to go on\n")
    elif kind == "unexpected":
        traceback.print_exception(error)
    else:
        sys.stderr.write(f"{stage}: {kind}: {error}\n")
    message = f"{type(error).__name__}: {error}" if kind == "unexpected" else str(error)
    # Where the disk is full the status cannot be written either.
    with suppress(OSError, InputError):
        write_status(stage, "failed", fingerprint=fingerprint, kind=kind, message=message)
    return _EXIT.get(kind, 1)


def _interrupt(number: int, frame: object) -> NoReturn:
    # What is raised in a callback of the interpreter (a finaliser, say) is swallowed there; so it
    # is raised again.
    signal.alarm(_AGAIN_SECONDS)
    raise Interrupted(f"signal {number}")


def _stop_listening() -> None:
    """Nothing may break into the last words."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.alarm(0)


def _die_with_parent() -> None:
    """Ask the kernel for a SIGTERM when DVC dies; it would leave this running, and start a second
    one beside it.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)


@contextmanager
def only_one(stage: str) -> Iterator[None]:
    """Hold the stage's lock, so that two copies never write the same outputs."""
    folder = scratch(stage)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"stage {stage}",
                "expected none, found another copy of it at work in this checkout",
                "wait for it to end, or stop it",
            ) from None
        yield


def _fix_threads() -> None:
    from threadpoolctl import threadpool_limits

    os.environ["OMP_NUM_THREADS"] = str(threads())
    threadpool_limits(threads())
