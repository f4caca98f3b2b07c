"""Benchmarks: `mambatalk bench ...`. They print what this machine does, where there is a bar beside
it; exit code 0.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mambatalk.bench.figure import Figure

bench = typer.Typer(no_args_is_help=True, help="Measure speed on this machine.")
app = typer.Typer()
app.add_typer(bench, name="bench")


@bench.command()
def scan(
    *,
    batch: Annotated[int, typer.Option(min=1, help="Sequences at once.")] = 8,
    channels: Annotated[int, typer.Option(min=1, help="Channels; the paper has 1536.")] = 1536,
    state: Annotated[int, typer.Option(min=1, help="State of a channel.")] = 16,
    steps: Annotated[int, typer.Option(min=1, help="Steps; 64 is a window.")] = 64,
    repeat: Annotated[int, typer.Option(min=1, help="Repetitions; the best counts.")] = 3,
    threads: Annotated[int, typer.Option(min=0, help="Threads of PyTorch; 0 leaves them.")] = 0,
) -> None:
    """Time the selective scan: ours, a plain loop, a chunked scan, associative_scan; and how exact
    each is.
    """
    import torch
    from rich.console import Console
    from rich.table import Table

    from mambatalk.bench.scan import measure_scans

    if threads:
        torch.set_num_threads(threads)
    timings = measure_scans(batch=batch, channels=channels, state=state, steps=steps, repeat=repeat)
    ours = timings[0].forward + timings[0].backward
    table = Table("scan", "forward ms", "backward ms", "times ours", "error")
    for timing in timings:
        table.add_row(
            timing.name,
            f"{1e3 * timing.forward:.1f}",
            f"{1e3 * timing.backward:.1f}",
            f"{(timing.forward + timing.backward) / ours:.1f}",
            f"{timing.error:.0e}",
        )
    console = Console()
    console.print(table)
    console.print(
        f"batch {batch}, {channels} channels, state {state}, {steps} steps, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}"
    )


@bench.command()
def data(
    *,
    hours: Annotated[
        float, typer.Option(min=0.5, help="Hours of sample to make; and a tenth of it to compare.")
    ] = 5,
    root: Annotated[Path | None, typer.Option(help="Measure on this corpus instead.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    json: Annotated[bool, typer.Option("--json", help="Print figures as data.")] = False,
) -> None:
    """Time ingest, features and the reading of windows; weigh store and memory; change one clip and
    do it again.

    Everything is written to a temporary folder (`TMPDIR` moves it) of about three times the corpus'
    size. A sample of 10 hours takes some four minutes to make.
    """
    import tempfile

    from mambatalk.bench.data import measure
    from mambatalk.sample.build import write_sample

    with tempfile.TemporaryDirectory() as folder:
        corpora = [root] if root else [Path(folder) / name for name in ("small", "large")]
        for corpus, size in (
            zip(corpora, (max(0.5, hours / 10), hours), strict=False) if root is None else ()
        ):
            typer.echo(f"making {size:g} h of sample", err=True)
            write_sample(corpus, hours=size, speakers=8, seed=2021, workers=workers)
        figures = []
        for figure in measure(corpora, Path(folder), workers=workers):
            typer.echo(f"{figure.quantity}: {figure.measured:.4g} {figure.unit}", err=True)
            figures.append(figure)
    _print_figures(figures, json=json)


def _print_figures(figures: "Sequence[Figure]", *, json: bool) -> None:
    if json:
        from json import dumps

        typer.echo(dumps([figure.as_data() for figure in figures], indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("quantity", "measured", "bar", "ok")
    for figure in figures:
        bar = (
            ""
            if figure.bar is None
            else f"{'at least' if figure.at_least else 'at most'} {figure.bar:,g}"
        )
        table.add_row(
            figure.quantity,
            f"{figure.measured:,.4g} {figure.unit}",
            bar,
            {None: "", True: "yes", False: "no"}[figure.ok],
        )
    Console().print(table)
