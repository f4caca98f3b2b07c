"""`mambatalk download`: fetch the BEAT2 data set from its hub."""

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
    from rich.progress import Progress as RichProgress

    from mambatalk.console import Progress
    from mambatalk.download.transfer import DownloadPlan, ErrorCallback

app = typer.Typer()


@app.command(rich_help_panel="Data")
def download(
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT", help="Folder for the data; each language gets a folder in it."
        ),
    ],
    *,
    language: Annotated[
        str, typer.Option(help="english, chinese, spanish or japanese.")
    ] = "english",
    speakers: Annotated[
        str | None, typer.Option(help="Speaker ids, such as 2,4; default: all.")
    ] = None,
    revision: Annotated[
        str | None, typer.Option(help="Commit, branch or tag; default: the tested commit.")
    ] = None,
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="Accept the terms without a prompt.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be downloaded; write nothing.")
    ] = False,
) -> None:
    """Download BEAT2 (BEATX) from its hub and verify every file.

    The first run shows the terms of the data and asks you to accept them. After an interruption,
    run the same command again: complete files are not downloaded twice. `OUT/download.json` records
    the commit and the hash of every file. The variables `HF_ENDPOINT`, `HF_TOKEN` and those for
    proxies work as for huggingface_hub.

    The SMPL-X body model is not included; get it at https://smpl-x.is.tue.mpg.de.

    **Examples**

    Print the size of speaker 2:

        mambatalk download /data/beat2 --speakers 2 --dry-run

    Download two speakers, and later a third one:

        mambatalk download /data/beat2 --speakers 2,4
        mambatalk download /data/beat2 --speakers 2,4,6
    """
    from rich.filesize import decimal

    from mambatalk.download.hub import REVISION, connect
    from mambatalk.download.selection import language_folder, parse_speakers
    from mambatalk.download.transfer import download as download_files
    from mambatalk.download.transfer import plan_download

    language_folder(language)
    speaker_ids = None if speakers is None else parse_speakers(speakers)
    if not dry_run:
        _accept_licence(out, accepted=accept_licence)
    api = connect()
    with _transfer_bar() as (progress, on_error):
        plan = plan_download(
            api, language=language, speakers=speaker_ids, revision=revision or REVISION
        )
        files = {}
        if not dry_run:
            files = download_files(api, plan, out, progress=progress, on_error=on_error)
    if dry_run:
        _print_plan(plan, out)
        return

    fetched = sum(file.fetched for file in files.values())
    check_options = f" --speakers {speakers}" if speakers else ""
    typer.echo(
        f"{out / plan.folder}: {len(files):,} files, {decimal(plan.size)}, all verified;"
        f" {fetched:,} downloaded now."
        f" Next: mambatalk check {out / plan.folder}{check_options}"
    )


def _accept_licence(out: Path, *, accepted: bool) -> None:
    from mambatalk.download.licence import NOTICE, is_accepted, record_acceptance

    if is_accepted(out):
        return
    typer.echo(NOTICE, err=True)
    if not accepted and not sys.stdin.isatty():
        raise InputError(
            "licence",
            "expected the terms to be accepted, found no terminal for a prompt",
            "read the terms above and repeat the command with --accept-licence",
        )
    if not accepted and not typer.confirm("Do you accept these terms?", err=True):
        raise InputError(
            "licence",
            "expected the terms to be accepted, found that they were declined",
            "nothing was downloaded",
        )
    record_acceptance(out)


def _print_plan(plan: "DownloadPlan", out: Path) -> None:
    from rich.console import Console
    from rich.filesize import decimal
    from rich.table import Column, Table

    from mambatalk.download.selection import file_kind

    sizes_by_kind: dict[str, list[int]] = {}
    for file in plan.files:
        kind = str(file_kind(file.path, plan.folder))
        sizes_by_kind.setdefault(kind, []).append(file.size)
    table = Table("kind", Column("files", justify="right"), Column("size", justify="right"))
    for kind, sizes in sorted(sizes_by_kind.items()):
        table.add_row(kind, f"{len(sizes):,}", decimal(sum(sizes)))
    Console(highlight=False).print(table)

    missing = plan.missing(out)
    missing_size = sum(file.size for file in missing)
    typer.echo(f"selected: {len(plan.files):,} files, {decimal(plan.size)}")
    typer.echo(f"to download: {len(missing):,} files, {decimal(missing_size)}")
    typer.echo(f"not selected: {plan.not_selected:,} files of {plan.folder}")
    typer.echo(f"commit: {plan.commit}")


class _DescriptionHandler(logging.Handler):
    """Shows log messages as the description of a progress bar.

    Lines of their own would break the bar.
    """

    def __init__(self, show: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._show = show

    def emit(self, record: logging.LogRecord) -> None:
        """Show the start of a message."""
        self._show(" ".join(record.getMessage().split())[:60])


@contextmanager
def _transfer_bar() -> Iterator[tuple["Progress", "ErrorCallback"]]:
    """Yield callbacks for progress and for an error that ends the download.

    The bar shows bytes, speed and time left, if standard error is a terminal.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.progress import Progress as RichProgress

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with RichProgress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("listing files", total=None)

        def show_progress(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, description="downloading")

        if console.is_terminal:
            handler = _DescriptionHandler(lambda text: bar.update(task, description=text))
            for name in ("huggingface_hub", "mambatalk"):
                logging.getLogger(name).handlers = [handler]
        _exit_on_signals(bar)
        yield show_progress, lambda error: _exit_now(bar, str(error), 2)


def _exit_on_signals(bar: "RichProgress") -> None:
    """Exit on Ctrl-C (code 130) and on SIGTERM (code 143)."""

    def stop(number: int, _: object) -> None:
        _exit_now(bar, "stopped; run the same command again to resume", 128 + number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)


def _exit_now(bar: "RichProgress", message: str, code: int) -> NoReturn:
    """Exit without waiting for the threads, which may be waiting for the hub for minutes.

    This loses nothing: complete files stay, and the next run resumes the unfinished ones.
    """
    # The threads still run; their log lines must not hide the reason.
    logging.disable()
    bar.stop()
    sys.stderr.write(f"mambatalk: {message}\n")
    sys.stderr.flush()
    os._exit(code)
