"""How a stage stops: at SIGTERM and SIGINT, and when DVC has ended, in a bounded time.

SIGTERM and SIGINT raise `Interrupted` in the main thread, which unwinds the stage. Its last writes
may take long (to MLflow, for example), the exception may be swallowed (the interpreter does so in
finalisers), and the main thread may be inside a long call of a library, where it runs no handler.
Therefore a second thread, which reads the signal from a pipe, ends the process after a deadline.
"""

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Final

from tasks.runtime.processes import terminate_with_parent

STOP_SECONDS: Final = 3.0
"""Time to unwind after a signal. DVC and the launcher then need up to a second on a busy machine;
with 4 s, a build took 5.2 s to end once in 70 signals, and 5 s are promised."""
CHECKPOINT_SECONDS: Final = 20.0
"""Time in addition for a training that holds the signal back until it has written a checkpoint."""
ORPHAN_SECONDS: Final = 1.5
"""Time to unwind after the parent has ended: the next build may be about to start this stage."""
_POLL_SECONDS: Final = 0.1
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class Interrupted(BaseException):
    """A signal asks the stage to stop.

    Args:
        number: The signal: SIGINT comes from a person, SIGTERM from a machine.

    """

    def __init__(self, number: int = signal.SIGTERM) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def stop_at_signals(give_up: Callable[[Interrupted], object]) -> None:
    """Raise `Interrupted` once at SIGTERM, SIGINT or the parent's end, and enforce a deadline.

    SIGINT is handled even if this process inherited that it be ignored, as background jobs of
    scripts do.

    Args:
        give_up: Called in another thread if the process has not ended by the deadline. The process
            then exits with 128 + the number of the signal.

    """
    raised = False

    def interrupt(number: int, frame: object) -> None:
        nonlocal raised
        # Ctrl-C arrives from the terminal and from DVC; only the first one counts.
        if not raised:
            raised = True
            raise Interrupted(number)

    def is_held_back(number: int) -> bool:
        return signal.getsignal(number) not in (interrupt, signal.SIG_IGN)

    def send_if_missed(number: int) -> bool:
        """Send a signal again if its exception was swallowed before a training held signals back.

        A finaliser that runs when the signal arrives swallows it; the training would not stop.
        """
        nonlocal raised
        missed = raised and is_held_back(number)
        if missed:
            raised = False
            os.kill(os.getpid(), number)
        return missed

    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in _SIGNALS:
        signal.signal(number, interrupt)
    parent = os.getppid()
    threading.Thread(
        target=_enforce_deadline,
        args=(reader, parent, is_held_back, send_if_missed, give_up),
        daemon=True,
        name="stop-at-signals",
    ).start()
    # A killed DVC would leave this stage running, and the next build would start it again.
    terminate_with_parent(parent)


def ignore_signals() -> None:
    """Ignore further signals, so that the last status is written."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _enforce_deadline(
    reader: int,
    parent: int,
    is_held_back: Callable[[int], bool],
    send_if_missed: Callable[[int], bool],
    give_up: Callable[[Interrupted], object],
) -> None:
    number = 0
    while number not in _SIGNALS:
        number = os.read(reader, 1)[0]
    received = time.monotonic()
    start = received
    sent_again = False
    while True:
        time.sleep(_POLL_SECONDS)
        now = time.monotonic()
        sent_again = sent_again or send_if_missed(number)
        if is_held_back(number) and now - received < CHECKPOINT_SECONDS:
            start = now
        limit = STOP_SECONDS
        if os.getppid() != parent:
            start = received
            limit = ORPHAN_SECONDS
        if now - start >= limit:
            break
    give_up(Interrupted(number))
    os._exit(128 + number)
