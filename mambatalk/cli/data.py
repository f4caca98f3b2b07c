"""`mambatalk sample`, `snapshot` and `check`: make a corpus, say what it is, and read it before
training on it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mambatalk.config import CheckClipsConfig
    from mambatalk.corpus.snapshot import Progress
    from mambatalk.quality.report import QualityReport

app = typer.Typer()
FEW = 3
"""Clips named where there may be thousands."""


@app.command()
def sample(
    out: Annotated[
        Path, typer.Argument(help="Folder to make; an earlier sample there is replaced.")
    ],
    *,
    hours: Annotated[
        float, typer.Option(help="Hours of motion; 0.17 is about ten minutes.")
    ] = 0.17,
    speakers: Annotated[int, typer.Option(min=1, help="Number of speakers.")] = 3,
    seed: Annotated[
        int, typer.Option(help="Decides what is said; the same seed gives the same bytes.")
    ] = 2021,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; by default as many as pay off.")
    ] = None,
) -> None:
    """Speak and move a corpus in BEATX layout, from nothing.

    eSpeak NG speaks (`pip install 'mambatalk[sample]'`), a known law moves: jaw and face follow the
    phones, arms and head beat on stressed syllables, eight words have their own gesture. What the
    law did stands in `events/`.

    **Examples**

    `mambatalk sample /tmp/corpus` makes ten minutes in some 15 seconds.

    `mambatalk sample /tmp/large --hours 10 --speakers 8` makes one to measure with, on all cores.
    """
    from mambatalk.sample.build import write_sample

    with _progress("clips") as progress:
        write_sample(
            out, hours=hours, speakers=speakers, seed=seed, workers=workers, progress=progress
        )
    typer.echo(f"{out}: {hours:g} h, {speakers} speakers. Next: mambatalk check {out}")


@app.command()
def snapshot(
    root: Annotated[Path, typer.Argument(help="Language folder in BEATX layout.")],
    *,
    out: Annotated[Path, typer.Option(help="JSON to write; small, meant for git.")],
) -> None:
    """Write path, size and sha256 of every file of a corpus.

    The snapshot is what the pipeline depends on: a new one is what makes it train again.

    **Example**

    `mambatalk snapshot /data/beat_english_v2.0.0 --out data/beat_english.json`, then set
    `ingest.root` and `ingest.snapshot` in `params.yaml`.
    """
    from mambatalk.corpus.snapshot import write_snapshot

    with _progress("files") as progress:
        value = write_snapshot(root, out, progress=progress)
    size = sum(file["size"] for file in value["files"].values())
    typer.echo(
        f"{out}: {len(value['files'])} files, {size / 1e9:.2f} GB, digest {value['digest'][:12]}"
    )


@app.command()
def check(
    root: Annotated[
        Path, typer.Argument(help="Folder in BEATX layout; sem and textgrid may be missing.")
    ],
    *,
    report: Annotated[
        Path | None, typer.Option(help="Folder for a page with pictures, index.html.")
    ] = None,
    params: Annotated[
        Path | None, typer.Option(help="Take the bounds of this params file.")
    ] = None,
    speakers: Annotated[
        str | None, typer.Option(help="Only these speakers, such as 2,4; by default all.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
) -> None:
    """Read a corpus as the pipeline would, and say what is wrong with which clip.

    Exit code 0: nothing worse than warnings. 1: a clip would be left out, or a critical rule fails.
    2: not a corpus.

    **Examples**

    `mambatalk check /data/my_corpus`

    `mambatalk check /data/beat2/beat_english_v2.0.0 --speakers 2` where only speaker 2 was
    downloaded.

    `mambatalk check /data/my_corpus --report /tmp/quality` also draws why, in
    `/tmp/quality/index.html`.

    `mambatalk check /data/my_corpus --params infra/profiles/paper.yaml` applies that profile's
    bounds.
    """
    from mambatalk.corpus.layout import check_root
    from mambatalk.download.selection import parse_speakers
    from mambatalk.files import make_folder

    bounds = _bounds(params)
    numbers = [] if speakers is None else sorted(parse_speakers(speakers))
    check_root(root)
    if report is not None:
        make_folder(report)
    with _scratch() as scratch:
        result = _check(root, scratch, bounds, numbers, workers)
        _print_findings(result)
        if report is not None:
            from mambatalk.quality.page import write_quality_page

            write_quality_page(report / "index.html", result)
            typer.echo(f"with pictures: {report / 'index.html'}")
    if result.verdict["critical"] or result.verdict["quarantined"]:
        raise typer.Exit(1)


@contextmanager
def _scratch() -> Iterator[Path]:
    """Yield a folder that goes with the block; that its disk is full is told of the place that
    TMPDIR names.
    """
    import tempfile

    from mambatalk.files import full_disk_errors, path_errors

    with path_errors("TMPDIR", expected="a folder to write to"):
        folder = tempfile.TemporaryDirectory()
    with folder as scratch, full_disk_errors(scratch):
        yield Path(scratch)


def _check(
    root: Path, scratch: Path, bounds: "CheckClipsConfig", speakers: list[int], workers: int
) -> "QualityReport":
    from mambatalk.clips.ingest import ingest
    from mambatalk.clips.store import ClipStore
    from mambatalk.corpus.snapshot import write_snapshot
    from mambatalk.quality.report import build_report, find_unmatched_files

    with _progress("files") as progress:
        files = write_snapshot(root, scratch / "snapshot.json", progress=progress)["files"]
    (scratch / "clips").mkdir()
    ingest(
        root,
        scratch / "snapshot.json",
        scratch / "clips",
        speakers=speakers,
        clips_per_shard=32,
        workers=workers,
    )
    return build_report(
        ClipStore(scratch / "clips"),
        bounds,
        corpus=str(root),
        unmatched_files=find_unmatched_files(files),
    )


def _print_findings(report: "QualityReport") -> None:
    """Say what was found: a line for each clip that would be left out, and for each rule that only
    warns.
    """
    for clip, reasons in report.verdict["quarantined"].items():
        for reason in reasons:
            typer.echo(f"left out {clip}: {reason}")
    for rule, found in report.findings[report.findings["severity"] == "warning"].groupby(
        "rule", sort=False
    ):
        named = ", ".join(found["clip_id"][:FEW]) + (" and others" if len(found) > FEW else "")
        typer.echo(f"warning {rule}: {len(found)} clips ({found['reason'].iloc[0]}): {named}")
    for reason in report.verdict["critical"]:
        typer.echo(f"critical: {reason}")
    if report.unmatched_files:
        typer.echo(f"passed over, no clip id in the name: {', '.join(report.unmatched_files)}")
    verdict = report.verdict
    typer.echo(
        f"{len(report.store.manifest)} clips: {len(verdict['accepted'])} accepted, {len(verdict['quarantined'])} "
        f"would be left out; {verdict['warnings']} warnings"
    )


def _bounds(params: Path | None) -> "CheckClipsConfig":
    from mambatalk.config import load_config
    from mambatalk.quality.rules import STANDARD_BOUNDS

    return STANDARD_BOUNDS if params is None else load_config(params).check_clips


@contextmanager
def _progress(what: str) -> Iterator["Progress"]:
    """Yield a callback that draws a bar on standard error; nothing is drawn where that is no
    terminal.
    """
    from rich.console import Console
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    with Bar(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
