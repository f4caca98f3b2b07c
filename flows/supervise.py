"""Run a command, or the rest of this process, so that none of its processes outlives the caller.

The command gets a session of its own. When it ends, is terminated, or loses its caller in any way,
SIGKILL included, every process left in the session gets SIGTERM, and SIGKILL after a grace period.
Without this, a killed DVC would leave the training that it started, and a killed flow would leave
Prefect's temporary server.

As a program: `python -m flows.supervise COMMAND...` runs until the command ends, standard input
closes, or a signal arrives.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

from tasks.runtime.dvc_command import CONTINUE
from tasks.runtime.processes import adopt_orphans, terminate_with_parent

# Longer than it takes to write one checkpoint.
GRACE_SECONDS: Final = float(os.environ.get("MAMBATALK_GRACE_SECONDS", "30"))
_POLL_SECONDS: Final = 0.05


def main(command: list[str]) -> int:
    """Run a command until it ends, standard input closes, or a signal arrives.

    Returns:
        The exit code as a shell reports it: 128 + N for a command that signal N ended, and 130 if
        SIGINT ended this process.

    """
    adopt_orphans()
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        # The command inherits the open files whose locks it is to hold.
        close_fds=False,
        preexec_fn=partial(terminate_with_parent, os.getpid()),
    )
    stopped = _stop_at_signals()
    threading.Thread(target=_watch_input, args=(stopped,), daemon=True).start()
    return _Session(child.pid).supervise(stopped)


def run_supervised() -> None:
    """Continue in a child process that this process supervises.

    Returns only in the child, which has a session of its own and gets SIGTERM when this process
    ends; SIGTERM raises `SystemExit(143)` there, so that `finally` blocks run and Prefect shuts its
    temporary server down. SIGINT does so with code 130. On systems other than Linux only the
    handlers are installed.
    """
    if sys.platform == "linux":
        parent = os.getpid()
        child = os.fork()
        if child:
            adopt_orphans()
            code = _Session(child).supervise(_stop_at_signals())
            if code in (128 + signal.SIGINT, 128 + signal.SIGTERM):
                os.write(2, f"stopped; {CONTINUE}\n".encode())
            os._exit(code)
        os.setsid()
        terminate_with_parent(parent)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: sys.exit(128 + number))


class _Session:
    """The process group of a session's leader, and the leader's exit code once it has ended."""

    def __init__(self, leader: int) -> None:
        self.leader = leader
        self.code: int | None = None

    def supervise(self, stopped: "_Stop") -> int:
        """Wait for the leader or for `stopped`, end every process, and return the exit code."""
        while not self._leader_ended() and not stopped.wait(_POLL_SECONDS):
            pass
        deadline = time.monotonic() + GRACE_SECONDS
        # The leader alone at first: it may have to shut down a server in its own group.
        self._end(self._leader_ended, lambda number: os.kill(self.leader, number), deadline)
        self._end(self._empty, lambda number: os.killpg(self.leader, number), deadline)
        if stopped.number == signal.SIGINT:
            return 128 + signal.SIGINT
        code = self.code or 0
        return code if code >= 0 else 128 - code

    @staticmethod
    def _end(ended: Callable[[], bool], send: Callable[[int], None], deadline: float) -> None:
        """Send SIGTERM once, then SIGKILL after the deadline until `ended` returns true."""
        number = signal.SIGTERM
        while not ended():
            with suppress(ProcessLookupError):
                if number == signal.SIGTERM or time.monotonic() > deadline:
                    send(number)
                    number = signal.SIGKILL
            time.sleep(_POLL_SECONDS)

    def _leader_ended(self) -> bool:
        self._reap()
        return self.code is not None

    def _empty(self) -> bool:
        self._reap()
        try:
            os.killpg(self.leader, 0)
        except ProcessLookupError:
            return True
        return False

    def _reap(self) -> None:
        """Wait for processes of the group that have ended: the leader and adopted orphans."""
        with suppress(ChildProcessError):
            while (found := os.waitpid(-self.leader, os.WNOHANG))[0]:
                if found[0] == self.leader:
                    self.code = os.waitstatus_to_exitcode(found[1])


class _Stop(threading.Event):
    """Set to end the session; `number` is the signal that asks for it, if one does."""

    number: int | None = None


def _stop_at_signals() -> _Stop:
    stopped = _Stop()

    def stop(number: int, frame: object) -> None:
        stopped.number = stopped.number or number
        stopped.set()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)
    return stopped


def _watch_input(stopped: _Stop) -> None:
    while os.read(0, 1):
        pass
    stopped.set()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
