"""Rehearse failing servers, disks and processes: `python -m tasks.tools.chaos`.

The faults hit a copy of the checkout in `runs/chaos`, on the profile `tiny`, with its own MLflow,
DVC and Prefect. After each one the next build must succeed with the same digests of all outputs as
a build without faults. The table of what was seen replaces `docs/rehearsal.md`. Exit code 1 means
that something is not as it should be.
"""

import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Final

import typer

from tasks.runtime.command import run_command
from tasks.tools.chaos.build import PROFILE, REPRO, Build, Row, say
from tasks.tools.chaos.faults import FAULTS
from tasks.tools.chaos.kills import random_kills

FOLDER: Final = Path("runs/chaos")
PAGE: Final = Path("docs/rehearsal.md")
_SECONDS_PER_MINUTE: Final = 60.0


def rehearse(folder: Path, *, minutes: float, kills: int | None, seed: int) -> list[Row]:
    """Cause every fault, then kill at random.

    Args:
        folder: Folder for the copies of the checkout. A complete build in it is used again.
        minutes: Time for all of it, about. No new fault is caused after that.
        kills: Number of random kills, whatever time they take; None for as many as `minutes` allow.
        seed: Seed of the random kills.

    """
    until = time.monotonic() + minutes * _SECONDS_PER_MINUTE
    build = Build(folder.resolve() / "faults")
    build.copy(Path())
    say("a build without faults")
    ended = build.run(REPRO, timeout=3600)
    if ended.code:
        sys.stderr.write(ended.output)
        sys.exit("chaos: the build without faults failed; its output is above")
    reference = build.lock

    rows = []
    for fault in FAULTS:
        if time.monotonic() > until:
            rows.append(Row((fault.__doc__ or "").splitlines()[0], "not tried: no time left"))
            continue
        rows.append(fault(build, reference))
        _print_row(rows[-1])

    victim = Build(folder.resolve() / "kills")
    shutil.rmtree(victim.folder, ignore_errors=True)
    victim.copy(Path())
    rows.append(
        random_kills(
            victim,
            reference,
            kills=sys.maxsize if kills is None else kills,
            # The build after the last kill takes about as long as the first one.
            until=until - ended.seconds if kills is None else float("inf"),
            seed=seed,
        )
    )
    _print_row(rows[-1])
    return rows


def page(rows: list[Row], minutes: float) -> str:
    """Return the table as Markdown."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    lines = [
        "# Rehearsal of faults",
        "",
        f"`make chaos` writes this page. Each fault hits a build of the profile `{PROFILE}`; "
        "afterwards `make repro` must succeed",
        "with the same digests of all outputs as without the fault. Full disks and the read-only "
        "checkout are mounts in a user",
        "namespace, and the clock is libfaketime's.",
        "",
        f"Last run: commit {commit}, {_processor()}, {minutes:.0f} minutes.",
        "",
        "| fault | exit code of the command, and its line | afterwards |",
        "|---|---|---|",
    ]
    for row in rows:
        afterwards = "; ".join(row.problems) or "the same bytes"
        lines.append(f"| {row.fault} | {row.seen} | {afterwards} |")
    return "\n".join([*lines, ""])


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.machine()
    names = [line.split(":")[1].strip() for line in text.splitlines() if "model name" in line]
    return f"{names[0]}, {len(names)} processors" if names else platform.machine()


def _print_row(row: Row) -> None:
    say(f"{row.fault}: {row.seen}; {'; '.join(row.problems) or 'the same bytes afterwards'}")


def command(
    minutes: Annotated[float, typer.Option(help="Time for the rehearsal.")] = 15,
    kills: Annotated[
        int | None,
        typer.Option(min=0, help="Number of random kills, in addition to that time."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the random kills.")] = 0,
) -> None:
    """Rehearse, write the page, and exit with 1 if something is not as it should be."""
    begun = time.monotonic()
    rows = rehearse(FOLDER, minutes=minutes, kills=kills, seed=seed)
    PAGE.write_text(page(rows, (time.monotonic() - begun) / _SECONDS_PER_MINUTE), encoding="utf-8")
    say(f"wrote {PAGE}")
    if any(row.problems for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    run_command(command, "tasks.tools.chaos", __doc__)
