"""Run a command, or the rest of this process, so that nothing of it outlives whoever asked for it.

What is run gets a session of its own. When it has ended, or is told to stop, or whoever asked for
it ended in whatever way, SIGKILL included, all that is left in the session gets SIGTERM, and
SIGKILL after a grace period. DVC alone would die and leave the training it had started running;
Prefect would leave its temporary server.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

GRACE_SECONDS = float(os.environ.get("MAMBATALK_GRACE_SECONDS", "30"))
"""Longer than it takes to write one checkpoint."""
_SET_PARENT_DEATH_SIGNAL, _SET_CHILD_SUBREAPER = 1, 36
_POLL_SECONDS = 0.05


def main(command: list[str]) -> int:
    """Run a command until it ends, our standard input closes, or we are told to stop; return its
    exit code.
    """
    _adopt_orphans()
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    stopped = _stop_at_signals()
    threading.Thread(target=_watch_input, args=(stopped,), daemon=True).start()
    return _Session(child.pid).supervise(stopped)


def go_on_supervised() -> None:
    """Go on in a child process with a session of its own, which this process waits for and cleans
    up after.

    Returns in the child alone. The child gets SIGTERM when this process dies. On systems other than
    Linux, which cannot tell a child so, nothing happens.
    """
    if sys.platform != "linux":
        return
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        os.setsid()
        _prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGTERM)
        return
    _adopt_orphans()
    os._exit(_Session(child).supervise(_stop_at_signals()))


class _Session:
    """The process group that a session's leader made, and the leader's exit code once it has
    ended.
    """

    def __init__(self, leader: int) -> None:
        self.leader = leader
        self.code: int | None = None

    def supervise(self, stopped: threading.Event) -> int:
        """Wait for the leader, or for `stopped`, then for the rest; return the leader's code as a
        shell would.
        """
        while not self._leader_ended() and not stopped.wait(_POLL_SECONDS):
            pass
        deadline = time.monotonic() + GRACE_SECONDS
        # The leader first: it may have to say farewell to a server in its own group.
        self._end(self._leader_ended, lambda number: os.kill(self.leader, number), deadline)
        self._end(self._empty, lambda number: os.killpg(self.leader, number), deadline)
        code = self.code or 0
        return code if code >= 0 else 128 - code

    @staticmethod
    def _end(ended: Callable[[], bool], send: Callable[[int], None], deadline: float) -> None:
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
        """Wait for those that have ended, the leader and orphans come to us."""
        with suppress(ChildProcessError):
            while (found := os.waitpid(-self.leader, os.WNOHANG))[0]:
                if found[0] == self.leader:
                    self.code = os.waitstatus_to_exitcode(found[1])


def _stop_at_signals() -> threading.Event:
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: stopped.set())
    return stopped


def _watch_input(stopped: threading.Event) -> None:
    while os.read(0, 1):
        pass
    stopped.set()


def _adopt_orphans() -> None:
    """Let grandchildren whose parents are gone come to us, so that we can see them end."""
    if sys.platform == "linux":
        _prctl(_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
