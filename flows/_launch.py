"""Run a command so that nothing of it outlives whoever asked for it: `python -m flows._launch COMMAND...`.

The command gets a session of its own. When our standard input closes, because the flow that held it ended in whatever
way, SIGKILL included, or when we are told to stop, the whole group gets SIGTERM, and after a grace period SIGKILL.
DVC alone would die and leave the training it had started running.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

GRACE_SECONDS = float(os.environ.get("MAMBATALK_GRACE_SECONDS", "30"))
"""Longer than it takes to write one checkpoint."""
_SET_CHILD_SUBREAPER = 36
_POLL_SECONDS = 0.05


def main(command: list[str]) -> int:
    """Run a command to its end, or to ours, and return its exit code."""
    if sys.platform == "linux":  # Grandchildren whose parents are gone come to us, so that we can see them end.
        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: stopped.set())
    threading.Thread(target=_watch_input, args=(stopped,), daemon=True).start()
    while child.poll() is None and not stopped.wait(_POLL_SECONDS):
        pass
    _end_group(child)
    return child.wait()


def _watch_input(stopped: threading.Event) -> None:
    while os.read(0, 1):
        pass
    stopped.set()


def _end_group(child: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + GRACE_SECONDS
    _signal_group(child.pid, signal.SIGTERM)
    while _alive(child):
        if time.monotonic() > deadline:
            _signal_group(child.pid, signal.SIGKILL)
        time.sleep(_POLL_SECONDS)


def _alive(child: subprocess.Popen[bytes]) -> bool:
    """Whether a process of the child's group is left, once those that have ended are waited for."""
    if child.poll() is None:
        return True
    with suppress(ChildProcessError):
        while os.waitpid(-child.pid, os.WNOHANG)[0]:
            pass
    try:
        os.killpg(child.pid, 0)
    except ProcessLookupError:
        return False
    return True


def _signal_group(group: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
