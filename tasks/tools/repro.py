"""Run `dvc repro` as `make repro` and `make real` do: `python -m tasks.tools.repro`.

DVC ends every build with the advice to push, which is left out where there is no remote. SIGINT and
SIGTERM are passed on to DVC, which ends the stage.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from mambatalk.files import read_json
from tasks.runtime.command import run_command
from tasks.runtime.dvc_command import CONTINUE
from tasks.runtime.paths import Paths
from tasks.runtime.processes import terminate_with_parent

_DVC: Final = (sys.executable, "-m", "tasks.runtime.dvc_command")
_MAX_REPEATS: Final = 4
"""Most builds in a row while stages find damaged files; more would mean that the disk fails."""
ADVICE: Final = "Use `dvc push` to send your updates to remote storage."


def repro(
    root: Path, variables: Mapping[str, str] | None = None, *, targets: Sequence[str] = ()
) -> int:
    """Bring every stage of a checkout up to date, or those that given stages need.

    If a stage finds that a file it reads is damaged, and removes it, all runs again.

    Args:
        root: Root of the checkout.
        variables: Added to the environment.
        targets: Stages to bring up to date. Empty selects all.

    Returns:
        The exit code of `dvc repro`; 130 or 143 if SIGINT or SIGTERM stopped it.

    """
    for _ in range(_MAX_REPEATS):
        started = time.time()
        code = _repro_once(root, variables, targets)
        if code == 0 or not _removed_damage(root, started):
            break
        sys.stdout.write("Building again what was damaged\n")
        sys.stdout.flush()
    return code


def _repro_once(root: Path, variables: Mapping[str, str] | None, targets: Sequence[str]) -> int:
    with subprocess.Popen(
        [*_DVC, "repro", *targets],
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
        # A killed DVC seems to hold its locks until this process has waited for it.
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


def _removed_damage(root: Path, started: float) -> bool:
    """Return whether a stage that ran since a time (`time.time`) has removed a damaged file."""
    for path in Paths(root).run_folder("*").parent.glob("*/status.json"):
        if path.stat().st_mtime >= started and read_json(path)["kind"] == "damaged":
            return True
    return False


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
