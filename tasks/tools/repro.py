"""Run `dvc repro` as `make repro` and `make real` do: `python -m tasks.tools.repro`.

DVC ends every build with the advice to push, which is left out where there is no remote.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tasks.runtime.command import run_command
from tasks.runtime.processes import terminate_with_parent

_DVC: Final = (sys.executable, "-m", "dvc")
ADVICE: Final = "Use `dvc push` to send your updates to remote storage."


def repro(root: Path, variables: Mapping[str, str] | None = None) -> int:
    """Bring every stage of a checkout up to date.

    Args:
        root: Root of the checkout.
        variables: Added to the environment.

    Returns:
        The exit code of `dvc repro`.

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
        for line in process.stdout or ():
            if line.rstrip() != ADVICE or _has_remote(root):
                sys.stdout.write(line)
                sys.stdout.flush()
    return process.returncode


def _has_remote(root: Path) -> bool:
    settings = subprocess.run(
        [*_DVC, "config", "--list"], cwd=root, capture_output=True, text=True, check=False
    )
    return any(line.startswith("remote.") for line in settings.stdout.splitlines())


def command() -> None:
    """Bring every stage up to date."""
    try:
        sys.exit(repro(Path()))
    except KeyboardInterrupt:
        # DVC has got the same signal and said so.
        sys.exit(130)


if __name__ == "__main__":
    run_command(command, "tasks.tools.repro", __doc__)
