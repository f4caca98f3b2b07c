"""Commands that flows run: streamed line by line, and ended with the flow that started them."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from flows.workspace import Workspace

OnLine = Callable[[str], None]


class CommandsStoppedError(Exception):
    """A command was stopped with its group, or was not started because the group is stopped."""


class ProcessGroup:
    """The running commands of one flow run, which one call stops.

    A group is the current one within its `with` block and in the tasks that are submitted there:
    Prefect's thread pool copies context variables into every task. Tasks therefore need no
    parameter that cannot be serialised. A task without a group, in a process of its own for
    example, gets a new one; the end of that process then ends its commands.

    Args:
        descriptors: Open files that every command inherits. A lock on such a file is held until
            the flow and its last command have ended.

    """

    def __init__(self, descriptors: Sequence[int] = ()) -> None:
        self.stopped = False
        self._descriptors = tuple(descriptors)
        self._lock = threading.Lock()
        self._inner: list[ProcessGroup] = []
        self._running: set[subprocess.Popen[str]] = set()

    def __enter__(self) -> "ProcessGroup":
        """Make this the current group, and a part of the group that was current before."""
        if outer := _current.get():
            outer.add(self)
        self._token = _current.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop what still runs: after an exception, Prefect waits for the threads of its tasks."""
        _current.reset(self._token)
        self.stop()

    def add(self, inner: "ProcessGroup") -> None:
        """Add the group of a flow that this flow calls: it inherits the files and stops with this.

        Args:
            inner: The group to add.

        """
        inner._descriptors += self._descriptors
        with self._lock:
            self._inner.append(inner)
            stopped = self.stopped
        if stopped:
            inner.stop()

    @contextmanager
    def start(
        self, command: Sequence[str], *, descriptors: Sequence[int] = (), **options: Any
    ) -> Iterator["subprocess.Popen[str]"]:
        """Run a command for the length of the block, and end it with the block.

        Args:
            command: Program and arguments.
            descriptors: Open files that the command inherits, besides those of the group.
            options: Further arguments of `subprocess.Popen`.

        Raises:
            CommandsStoppedError: The group has been stopped.

        """
        with self._lock:
            if self.stopped:
                raise CommandsStoppedError
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                text=True,
                pass_fds=(*self._descriptors, *descriptors),
                **options,
            )
            self._running.add(process)
        try:
            yield process
        finally:
            # The launcher ends its command when its standard input closes.
            if process.stdin:
                process.stdin.close()
            process.wait()
            with self._lock:
                self._running.discard(process)

    def stop(self) -> None:
        """Terminate every command, and prevent further ones from starting."""
        with self._lock:
            self.stopped = True
            for process in self._running:
                process.terminate()
            inner = list(self._inner)
        for group in inner:
            group.stop()


_current: ContextVar[ProcessGroup | None] = ContextVar("current process group", default=None)


def run_command(
    workspace: Workspace,
    command: Sequence[str],
    *,
    on_line: OnLine,
    timeout: float,
    variables: Mapping[str, str] | None = None,
    descriptors: Sequence[int] = (),
) -> int:
    """Run a command in a workspace under `flows.supervise`; it ends when this process ends.

    Args:
        workspace: The command's current directory is its root.
        command: Program and arguments.
        on_line: Called with each line of output that is not blank.
        timeout: Seconds after which the command is terminated.
        variables: Added to the environment.
        descriptors: Open files that the command and all it starts inherit.

    Returns:
        The exit code, 128 + N for a command that signal N ended.

    Raises:
        TimeoutError: The command took longer than `timeout`.
        CommandsStoppedError: The current process group has been stopped. SIGINT, sent to any
            process of the command, stops the group.

    """
    group = _current.get() or ProcessGroup()
    deadline = time.monotonic() + timeout
    with group.start(
        [sys.executable, "-m", "flows.supervise", *command],
        cwd=workspace.root,
        env=workspace.environment(variables or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=1,
        errors="replace",
        descriptors=descriptors,
    ) as process:
        timer = threading.Timer(timeout, process.terminate)
        timer.daemon = True
        timer.start()
        try:
            for line in process.stdout or ():
                if line.strip():
                    on_line(line.rstrip())
            code = process.wait()
        finally:
            timer.cancel()
    if code == 128 + signal.SIGINT:
        group.stop()
    if code and group.stopped:
        raise CommandsStoppedError
    if time.monotonic() >= deadline:
        raise TimeoutError(f"stopped after {timeout:.0f} s")
    return code
