"""`mambatalk sample`, `snapshot` and `check`: make a corpus, say what it is, and read it before training on it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import pandas

    from mambatalk.config import CheckClipsConfig
    from mambatalk.data.snapshot import Progress

app = typer.Typer()


@app.command()
def sample(
    out: Annotated[Path, typer.Argument(help="Folder to make; an earlier sample there is replaced.")],
    *,
    hours: Annotated[float, typer.Option(help="Hours of motion; 0.17 is about ten minutes.")] = 0.17,
    speakers: Annotated[int, typer.Option(min=1, help="Number of speakers.")] = 3,
    seed: Annotated[int, typer.Option(help="Decides what is said; the same seed gives the same bytes.")] = 2021,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; by default as many as pay off.")] = None,
) -> None:
    """Speak and move a corpus in BEATX layout, from nothing.

    eSpeak NG speaks (`pip install 'mambatalk[sample]'`), a known law moves: jaw and face follow the phones, arms and
    head beat on stressed syllables, eight words have their own gesture. What the law did stands in `events/`.

    **Examples**

    `mambatalk sample /tmp/corpus` makes ten minutes in some 15 seconds.

    `mambatalk sample /tmp/large --hours 10 --speakers 8` makes one to measure with, on all cores.
    """
    from mambatalk.data.sample import write_sample

    with _progress("clips") as progress:
        write_sample(out, hours=hours, speakers=speakers, seed=seed, workers=workers, progress=progress)
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

    `mambatalk snapshot /data/beat_english_v2.0.0 --out data/beat_english.json`, then set `ingest.root` and
    `ingest.snapshot` in `params.yaml`.
    """
    from mambatalk.data.snapshot import write_snapshot

    with _progress("files") as progress:
        value = write_snapshot(root, out, progress=progress)
    size = sum(file["size"] for file in value["files"].values())
    typer.echo(f"{out}: {len(value['files'])} files, {size / 1e9:.2f} GB, digest {value['digest'][:12]}")


@app.command()
def check(
    root: Annotated[Path, typer.Argument(help="Folder in BEATX layout; sem and textgrid may be missing.")],
    *,
    params: Annotated[Path | None, typer.Option(help="Take the bounds of this params file.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
) -> None:
    """Read a corpus as the pipeline would, and say what is wrong with which clip.

    Exit code 0: nothing worse than warnings. 1: a clip would be left out, or a critical rule fails. 2: not a corpus.

    **Examples**

    `mambatalk check /data/my_corpus`

    `mambatalk check /data/my_corpus --params infra/profiles/paper.yaml` applies that profile's bounds.
    """
    import tempfile

    from mambatalk.data.checks import apply_rules, clip_rules, verdict
    from mambatalk.data.clips import ClipStore
    from mambatalk.data.ingest import ingest
    from mambatalk.data.snapshot import write_snapshot

    bounds = _bounds(params)
    with tempfile.TemporaryDirectory() as scratch:
        listing, store = Path(scratch) / "snapshot.json", Path(scratch) / "clips"
        store.mkdir()
        with _progress("files") as progress:
            write_snapshot(root, listing, progress=progress)
        ingest(root, listing, store, speakers=[], clips_per_shard=32, workers=workers)
        manifest = ClipStore(store).manifest
    findings = apply_rules(manifest, clip_rules(bounds))
    judged = verdict(manifest, findings, max_quarantined=bounds.max_quarantined)
    _print_findings(findings)
    for reason in judged["critical"]:
        typer.echo(f"critical: {reason}")
    typer.echo(f"{len(manifest)} clips: {len(judged['accepted'])} accepted, {len(judged['quarantined'])} would be left "
               f"out; {judged['warnings']} warnings")
    if judged["critical"] or judged["quarantined"]:
        raise typer.Exit(1)


def _bounds(params: Path | None) -> "CheckClipsConfig":
    from mambatalk.config import load_config
    from mambatalk.data.checks import STANDARD_BOUNDS

    return STANDARD_BOUNDS if params is None else load_config(params).check_clips


def _print_findings(findings: "pandas.DataFrame") -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    if findings.empty:
        return
    columns = ("clip_id", "rule", "severity", "found", "expected", "why")
    table = Table("clip", *columns[1:])
    for row in findings[list(columns)].astype(str).itertuples(index=False):
        table.add_row(*map(escape, row))
    Console().print(table)


@contextmanager
def _progress(what: str) -> Iterator["Progress"]:
    """Yield a callback that draws a bar on standard error; nothing is drawn where that is no terminal."""
    from rich.console import Console
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    with Bar(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
