"""Linux process attributes that Python does not expose: parent-death signal and child subreaper.

On other systems the functions leave them alone. psutil has neither; it lists and signals processes.
"""

import ctypes
import os
import signal
import sys
from typing import Final

# Constants of <linux/prctl.h>.
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36


def terminate_with_parent(parent: int | None = None) -> None:
    """Request SIGTERM for this process as soon as its parent process ends.

    Args:
        parent: Process id of the expected parent. If it has ended already, SIGTERM follows
            immediately. If None, the current parent is taken.

    """
    if sys.platform != "linux":
        return
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    # The parent may have ended before the call above, in which case no signal would come.
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)


def terminate_with_dvc() -> None:
    """End this process, which DVC has started, at the first signal or as soon as DVC ends.

    Signals have their default action until the stage installs its handlers.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    terminate_with_parent()
    # DVC may have ended before the call above. The process that adopts its children, init for
    # example, is outside its process group.
    if os.getpgid(os.getppid()) != os.getpgrp():
        os.kill(os.getpid(), signal.SIGTERM)


def adopt_orphans() -> None:
    """Become the parent of descendants whose parent has ended, so that they can be waited for."""
    if sys.platform == "linux":
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
