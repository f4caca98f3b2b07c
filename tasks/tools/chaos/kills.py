"""Random kills: a build from nothing, one of whose processes gets a signal again and again."""

import os
import random
import select
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from mambatalk.files import read_json
from tasks.runtime.paths import Paths
from tasks.runtime.stopping import ORPHAN_SECONDS, STOP_SECONDS
from tasks.tools.chaos.build import REPRO, Build, Ended, Row, say

LONGEST_LIFE: Final = 20.0
"""Seconds after the start of a build within which the signal comes. A start takes about four."""
_SIGNALS: Final = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
_REFUSED: Final = r"busy|Unable to acquire lock|already running"
_ERROR: Final = "ERROR|expected|rror"
_REPORTED: Final = 10
"""Signals between two lines of progress, which is about two minutes."""
_PATIENCE: Final = 20.0
"""Seconds after which a build that has not ended is killed as a whole."""
_ALLOWANCE: Final = {signal.SIGKILL: 1.0, signal.SIGTERM: 2.0, signal.SIGINT: 2.0}
"""Seconds for the end of DVC and the launcher after that of the stage, by the signal sent."""


@dataclass(frozen=True)
class Attempt:
    """A build that got a signal, unless it ended before."""

    ended: Ended
    signal: str | None
    """Signal and process, such as "SIGKILL to the stage"; None if the build ended before."""
    lived: float
    """Seconds from the signal to the end of the last process."""
    limit: float
    """Longest time that this should take, seconds."""


def random_kills(build: Build, reference: str, *, kills: int, until: float, seed: int) -> Row:
    """Build from nothing, and send signals to random processes at random moments.

    The next build starts as soon as all processes of the one before have ended.

    Args:
        build: An empty build; complete afterwards, unless a build fails.
        reference: `dvc.lock` of a build without faults.
        kills: Largest number of signals.
        until: Time by `time.monotonic` after which no signal is sent.
        seed: Seed of moments, processes and signals.

    """
    draw = random.Random(seed)
    attempts: list[Attempt] = []
    problems: list[str] = []
    sent = 0
    while sent < kills and time.monotonic() < until:
        attempt = _attempt(build, draw)
        attempts.append(attempt)
        sent += attempt.signal is not None
        if attempt.signal is not None and sent % _REPORTED == 0:
            say(f"{sent} random signals sent, {len(problems)} problems so far")
        if attempt.lived > attempt.limit:
            late = f"{attempt.lived:.1f} s from {attempt.signal} to the end"
            say(f"after {sent} random signals: {late}, where {attempt.limit:g} s was the most")
            problems.append(late)
        if attempt.signal is None and attempt.ended.code == 0:
            problems += _differences(build, reference)
            _empty(build)
        elif attempt.signal is None and not attempt.ended.line(_REFUSED):
            problems.append(f"a build failed: {attempt.ended.line(_ERROR)}")
            # The next one would fail as well.
            break
    last = build.run(REPRO)
    attempts.append(Attempt(last, None, lived=0.0, limit=0.0))
    if last.code:
        problems.append(f"the last build failed: {last.line(_ERROR)}")
    problems += _differences(build, reference)
    return Row("random kills", _summary(attempts), tuple(dict.fromkeys(problems)))


def _summary(attempts: list[Attempt]) -> str:
    sent = Counter(one.signal for one in attempts if one.signal)
    undisturbed = [one.ended for one in attempts if one.signal is None]
    completed = sum(ended.code == 0 for ended in undisturbed)
    refused = sum(ended.code != 0 and bool(ended.line(_REFUSED)) for ended in undisturbed)
    stages = {
        line.split("'")[1]
        for one in attempts
        for line in one.ended.output.splitlines()
        if line.startswith("Running stage '")
    }
    listed = ", ".join(f"{count} {name}" for name, count in sorted(sent.items()))
    longest = max((one.lived for one in attempts), default=0.0)
    return (
        f"{sent.total()} signals ({listed}); {len(stages)} different stages had begun; "
        f"{completed} builds were completed, {refused} refused; "
        f"all processes had ended {longest:.1f} s after a signal at most"
    )


def _attempt(build: Build, draw: random.Random) -> Attempt:
    """Start a build, and send a signal to one of its processes at a random moment."""
    begun = time.monotonic()
    moment = begun + draw.uniform(0, LONGEST_LIFE)
    process = build.start(REPRO)
    output: list[str] = []
    # The pipe must not fill up.
    reader = threading.Thread(target=lambda: output.extend(process.stdout or ()))
    reader.start()
    name = None
    limit = 0.0
    lived = 0.0
    try:
        with suppress(subprocess.TimeoutExpired):
            process.wait(moment - time.monotonic())
        if process.returncode is None:
            root = psutil.Process(process.pid)
            family = [root, *root.children(recursive=True)]
            handles = [_handle(member.pid) for member in family]
            victim = draw.choice([member for member in family if _role(member, root)])
            number = draw.choice(_SIGNALS)
            name = f"{number.name} to the {_role(victim, root)}"
            stage_seconds = ORPHAN_SECONDS if number == signal.SIGKILL else STOP_SECONDS
            limit = stage_seconds + _ALLOWANCE[number]
            signalled = time.monotonic()
            with suppress(psutil.NoSuchProcess):
                victim.send_signal(number)
            deadline = signalled + _PATIENCE
            for handle in filter(None, handles):
                select.select([handle], [], [], max(0.0, deadline - time.monotonic()))
                os.close(handle)
            lived = time.monotonic() - signalled
            if _had_finished(build, victim.pid):
                name = f"{name} that had finished"
                limit = _PATIENCE + 1
    finally:
        # Also if a person stops the rehearsal.
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    # A worker may keep the pipe open longer than that.
    reader.join()
    ended = Ended(process.returncode, "".join(output), time.monotonic() - begun)
    return Attempt(ended, name, lived, limit)


def _had_finished(build: Build, pid: int) -> bool:
    """Return whether a process is a stage that has written that it succeeded."""
    for path in (build.root / "runs").glob("*/status.json"):
        status = read_json(path)
        if status["pid"] == pid:
            return bool(status["state"] == "succeeded")
    return False


def _handle(pid: int) -> int | None:
    """Return a pidfd; None if the process has ended."""
    with suppress(ProcessLookupError):
        return os.pidfd_open(pid)
    return None


def _role(process: psutil.Process, root: psutil.Process) -> str | None:
    """Return the role of a process; None for workers of a stage, which are replaced if they die."""
    if process == root:
        return "launcher"
    with suppress(psutil.Error):
        words = " ".join(process.cmdline())
        for role, module in (("DVC", "dvc_command"), ("stage", "-m tasks.")):
            if module in words:
                return role
    return None


def _differences(build: Build, reference: str) -> list[str]:
    found = [] if build.lock == reference else ["a build has other results"]
    partial = [path for folder in ("data", "models") for path in _partial(build.root / folder)]
    if partial:
        found.append(f"{len(partial)} partial files are left, such as {partial[0].name}")
    return found


def _partial(folder: Path) -> list[Path]:
    """Return temporary files and folders that a killed stage has left beside its outputs."""
    return [path for path in folder.rglob(".*") if path.name != ".gitignore"]


def _empty(build: Build) -> None:
    """Delete outputs, cache and `dvc.lock`, so that every stage runs again."""
    for name in (".dvc/cache", "models", "bundle", "results", "renders", "runs"):
        shutil.rmtree(build.root / name, ignore_errors=True)
    decisions = Paths(build.root).decisions
    for path in decisions.parent.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path != decisions:
            path.unlink()
    (build.root / "dvc.lock").unlink(missing_ok=True)
