"""Run `dvc repro` as `make repro` and `make real` do: `python -m tasks.tools.repro`.

DVC ends every build with the advice to push, which is left out where there is no remote. SIGINT and
SIGTERM are passed on to DVC, which ends the stage.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tasks.runtime.command import run_command
from tasks.runtime.dvc_command import CONTINUE
from tasks.runtime.processes import terminate_with_parent

_DVC: Final = (sys.executable, "-m", "tasks.runtime.dvc_command")
ADVICE: Final = "Use `dvc push` to send your updates to remote storage."


def repro(root: Path, variables: Mapping[str, str] | None = None) -> int:
    """Bring every stage of a checkout up to date.

    Args:
        root: Root of the checkout.
        variables: Added to the environment.

    Returns:
        The exit code of `dvc repro`; 130 or 143 if SIGINT or SIGTERM stopped it.

    """
    with subprocess.Popen(
        [*_DVC, "repro"],
        cwd=root,
        # Without it, DVC's lines would come later than those of the stages.
        env={**os.environ, "PYTHONUNBUFFERED": "1", **(variables or {})},
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
        preexec_fn=terminate_with_parent,
    ) as process:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: process.send_signal(number))
        # Until it is waited for, a DVC that was killed seems to hold its locks.
        signal.signal(signal.SIGCHLD, lambda *_: process.poll())
        # The stage has the same pipe, so the loop ends when both have ended.
        for line in process.stdout or ():
            if line.rstrip() != ADVICE or _has_remote(root):
                sys.stdout.write(line)
                sys.stdout.flush()
    code = process.returncode
    if code >= 0:
        return code
    sys.stderr.write(f"dvc: stopped by {signal.Signals(-code).name}; {CONTINUE}\n")
    return 128 - code


def _has_remote(root: Path) -> bool:
    settings = subprocess.run(
        [*_DVC, "config", "--list"], cwd=root, capture_output=True, text=True, check=False
    )
    return any(line.startswith("remote.") for line in settings.stdout.splitlines())


def command() -> None:
    """Bring every stage up to date."""
    sys.exit(repro(Path()))


if __name__ == "__main__":
    run_command(command, "tasks.tools.repro", __doc__)
