"""A copy of the checkout with all tools' state beside it, and how a fault in it is judged."""

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tasks.tools.profile import switch

PYTHON: Final = (sys.executable, "-m")
REPRO: Final = (*PYTHON, "tasks.tools.repro")
STAGE: Final = (*PYTHON, "tasks.runtime.dvc_command", "repro", "--force", "--single-item")
"""Runs a stage although nothing has changed."""
PROFILE: Final = "tiny"
_LINE_LENGTH: Final = 150
_OURS: Final = ("MLFLOW_", "MAMBATALK_", "DVC_", "PREFECT_")


def say(text: str) -> None:
    """Print one line of progress."""
    sys.stdout.write(f"chaos: {text}\n")
    sys.stdout.flush()


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    """Exit code; negative for a signal."""
    output: str
    """Standard output and standard error."""
    seconds: float

    def line(self, pattern: str) -> str | None:
        """Return the first line that matches a regular expression, shortened; None if none does."""
        for line in self.output.splitlines():
            if re.search(pattern, line):
                text = " ".join(line.split())
                return text if len(text) <= _LINE_LENGTH else text[: _LINE_LENGTH - 3] + "..."
        return None


@dataclass(frozen=True)
class Row:
    """One fault of the rehearsal and what was seen."""

    fault: str
    seen: str
    """Exit code, seconds and the line that the user reads."""
    problems: tuple[str, ...] = ()
    """What is not as it should be."""


@dataclass(frozen=True)
class Build:
    """A copy of the checkout on the smallest profile.

    Args:
        folder: Folder for the copy, `checkout`, and for the state of DVC, MLflow and Prefect.

    """

    folder: Path

    @property
    def root(self) -> Path:
        """The copy."""
        return self.folder / "checkout"

    @property
    def home(self) -> Path:
        """`MAMBATALK_HOME` of the copy."""
        return self.folder / "home"

    @property
    def lock(self) -> str:
        """The content of `dvc.lock`, which holds the digests of all outputs."""
        path = self.root / "dvc.lock"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def copy(self, source: Path) -> None:
        """Copy what git would take of a working tree. Outputs of an earlier copy are kept."""
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=source,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for name in filter(None, listed.split("\0")):
            if (source / name).is_file() and name != "dvc.lock":
                target = self.root / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source / name, target)
        switch(PROFILE, self.root)
        if not (self.root / ".git").exists():
            subprocess.run(["git", "init", "--quiet"], cwd=self.root, check=True)

    def environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        """Return an environment that keeps the state of all tools in the folder."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(_OURS)}
        return {
            **kept,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "MAMBATALK_HOME": str(self.home),
            "DVC_NO_ANALYTICS": "1",
            "DVC_SITE_CACHE_DIR": str(self.folder / "site"),
            "PREFECT_HOME": str(self.folder / "prefect"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PYTHONUNBUFFERED": "1",
            **variables,
        }

    def start(self, command: Sequence[str], **variables: str) -> "subprocess.Popen[str]":
        """Start a command in the copy, in a session of its own."""
        return subprocess.Popen(
            command,
            cwd=self.root,
            env=self.environment(variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )

    def run(
        self,
        command: Sequence[str],
        *,
        at: str | None = None,
        then: Callable[[], object] = lambda: None,
        timeout: float = 600,
        **variables: str,
    ) -> Ended:
        """Run a command in the copy.

        Args:
            command: Program and arguments.
            at: Regular expression; `then` is called at the first line that matches it.
            then: The fault.
            timeout: Seconds after which the command is killed.
            variables: Added to the environment.

        """
        begun = time.monotonic()
        lines = []
        process = self.start(command, **variables)
        timer = threading.Timer(timeout, process.kill)
        timer.start()
        try:
            for line in process.stdout or ():
                lines.append(line)
                if at is not None and re.search(at, line):
                    at = None
                    then()
            code = process.wait()
        finally:
            timer.cancel()
        output = "".join(lines).replace(f"{self.root}/", "")
        return Ended(code, output, time.monotonic() - begun)

    def stage(self, stage: str, **options: object) -> Ended:
        """Run one stage with DVC although nothing has changed."""
        return self.run(
            [*STAGE, stage],
            **options,  # type: ignore[arg-type]
        )

    def judge(
        self,
        fault: str,
        ended: Ended,
        *,
        reference: str,
        says: str,
        fails: bool,
        tracebacks: bool = False,
    ) -> Row:
        """Build again, and compare what was seen with what should be.

        Args:
            fault: Name of the fault.
            ended: The command during which the fault occurred.
            reference: `dvc.lock` of a build without faults.
            says: Regular expression of a line that the command should print.
            fails: Whether the command should fail.
            tracebacks: Whether a library may log one beside our line.

        """
        found = []
        if bool(ended.code) != fails:
            found.append("it should have failed" if fails else "it should not have failed")
        if "Traceback" in ended.output and not tracebacks:
            found.append("it printed a traceback")
        line = ended.line(says)
        if line is None:
            found.append("it said nothing about the fault")
            line = ended.line(r"ERROR|rror:") or "-"
        again = self.run(REPRO)
        if again.code:
            found.append(f"the next build failed: {again.line('ERROR|expected|rror') or 'no line'}")
        elif self.lock != reference:
            found.append("the next build has other results")
        seen = f"exit {ended.code} after {ended.seconds:.0f} s: {line.replace('|', '/')}"
        return Row(fault, seen, tuple(found))
