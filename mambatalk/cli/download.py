"""`mambatalk download`: the BEAT2 data set from its hub, checked and pinned."""

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from mambatalk.errors import InputError

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from mambatalk.download.transfer import Failed, Plan, Progress

app = typer.Typer()


@app.command()
def download(
    out: Annotated[
        Path, typer.Argument(help="Folder for the data; each language gets a folder inside.")
    ],
    *,
    language: Annotated[
        str, typer.Option(help="english, chinese, spanish or japanese.")
    ] = "english",
    speakers: Annotated[
        str | None, typer.Option(help="Speaker numbers, such as 2,4; by default all.")
    ] = None,
    revision: Annotated[
        str | None, typer.Option(help="Another commit, branch or tag than the pinned one.")
    ] = None,
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="Accept the terms, for scripts.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would come and write nothing.")
    ] = False,
) -> None:
    """Fetch BEAT2 (BEATX) from its hub: pinned to one commit, in parallel, every file checked.

    Stopped half-way, the same command goes on: files that are whole are not fetched again.
    `OUT/download.json` says what was fetched. HF_ENDPOINT, HF_TOKEN and the proxy variables are
    those of huggingface_hub. The SMPL-X body model is not part of it: get it at
    https://smpl-x.is.tue.mpg.de.

    **Examples**

    `mambatalk download /data/beat2 --speakers 2 --dry-run` says how much speaker 2 is.

    `mambatalk download /data/beat2 --speakers 2,4` fetches two speakers; `--speakers 2,4,6` later
    adds the third.
    """
    from rich.filesize import decimal

    from mambatalk.download.hub import REVISION, connect
    from mambatalk.download.selection import language_folder, parse_speakers
    from mambatalk.download.transfer import download as fetch_plan
    from mambatalk.download.transfer import plan

    language_folder(language)
    numbers = None if speakers is None else parse_speakers(speakers)
    if not dry_run:
        _accept(out, given=accept_licence)
    api = connect()
    with _bar() as (progress, failed):
        wanted = plan(api, language=language, speakers=numbers, revision=revision or REVISION)
        there = {} if dry_run else fetch_plan(api, wanted, out, progress=progress, failed=failed)
    if dry_run:
        _print_plan(wanted, out)
        return
    fetched = sum(file.fetched for file in there.values())
    typer.echo(
        f"{out / wanted.folder}: {len(there):,} files, {decimal(wanted.size)}, all whole; {fetched:,} fetched "
        f"now. Next: mambatalk check {out / wanted.folder}"
        + (f" --speakers {speakers}" if speakers else "")
    )


def _accept(out: Path, *, given: bool) -> None:
    from mambatalk.download.licence import NOTICE, is_accepted, record_acceptance

    if is_accepted(out):
        return
    typer.echo(NOTICE, err=True)
    if not given and not sys.stdin.isatty():
        raise InputError(
            "licence",
            "expected the terms accepted once, found nobody at a terminal to accept it",
            "read them above and repeat the command with --accept-licence",
        )
    if not given and not typer.confirm("Do you accept these terms?", err=True):
        raise InputError(
            "licence",
            "expected the terms accepted once, found terms not accepted",
            "nothing was fetched",
        )
    record_acceptance(out)


def _print_plan(wanted: "Plan", out: Path) -> None:
    from rich.console import Console
    from rich.filesize import decimal
    from rich.table import Column, Table

    from mambatalk.download.selection import kind_of

    kinds: dict[str, list[int]] = {}
    for file in wanted.files:
        kinds.setdefault(str(kind_of(file.path, wanted.folder)), []).append(file.size)
    table = Table("kind", Column("files", justify="right"), Column("size", justify="right"))
    for kind, sizes in sorted(kinds.items()):
        table.add_row(kind, f"{len(sizes):,}", decimal(sum(sizes)))
    Console(highlight=False).print(table)
    missing = wanted.missing(out)
    typer.echo(
        f"{len(wanted.files):,} files, {decimal(wanted.size)}: {wanted.folder} at commit {wanted.commit}"
    )
    typer.echo(
        f"still to come: {len(missing):,} files, {decimal(sum(file.size for file in missing))}"
    )
    typer.echo(f"not asked for: {wanted.left_out:,} files of that folder")


class _Beside(logging.Handler):
    """Shows what the libraries log as the text of a bar, where lines of their own would tear it."""

    def __init__(self, show: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self.show = show

    def emit(self, record: logging.LogRecord) -> None:
        """Show the beginning of a message."""
        self.show(" ".join(record.getMessage().split())[:60])


@contextmanager
def _bar() -> Iterator[tuple["Progress", "Failed"]]:
    """Yield what draws bytes, speed and time left on standard error, where that is a terminal, and
    what ends it.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.progress import Progress as Columns

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Columns(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("listing", total=None)
        if console.is_terminal:
            for name in ("huggingface_hub", "mambatalk"):
                logging.getLogger(name).handlers = [
                    _Beside(lambda text: bar.update(task, description=text))
                ]
        _end_at_once(bar)
        yield (
            lambda done, total: bar.update(
                task, completed=done, total=total, description="fetching"
            ),
            lambda error: _end(bar, str(error), 2),
        )


def _end_at_once(bar: "Bar") -> None:
    """Let Ctrl-C and SIGTERM end the process."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(
            number,
            lambda number, _: _end(
                bar, "stopped; the same command goes on from here", 128 + number
            ),
        )


def _end(bar: "Bar", message: str, code: int) -> NoReturn:
    """End without a wait for the threads, which wait for as long as the hub asks.

    Nothing is lost: a download leaves whole files and goes on from them however it ends.
    """
    bar.stop()
    sys.stderr.write(f"mambatalk: {message}\n")
    sys.stderr.flush()
    os._exit(code)
