"""Benchmarks: `mambatalk bench ...`. They print what this machine does and judge nothing."""

from typing import Annotated

import typer

bench = typer.Typer(no_args_is_help=True, help="Measure speed on this machine.")
app = typer.Typer()
app.add_typer(bench, name="bench")


@bench.callback()
def _group() -> None:
    """Keep `scan` a subcommand though it is the only one."""


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
    """Time the selective scan: ours, a plain loop, a chunked scan, associative_scan; and how exact each is."""
    import torch
    from rich.console import Console
    from rich.table import Table

    from mambatalk.models.bench_scan import measure_scans

    if threads:
        torch.set_num_threads(threads)
    timings = measure_scans(batch=batch, channels=channels, state=state, steps=steps, repeat=repeat)
    ours = timings[0].forward + timings[0].backward
    table = Table("scan", "forward ms", "backward ms", "times ours", "error")
    for timing in timings:
        table.add_row(timing.name, f"{1e3 * timing.forward:.1f}", f"{1e3 * timing.backward:.1f}",
                      f"{(timing.forward + timing.backward) / ours:.1f}", f"{timing.error:.0e}")
    console = Console()
    console.print(table)
    console.print(f"batch {batch}, {channels} channels, state {state}, {steps} steps, "
                  f"{torch.get_num_threads()} threads, torch {torch.__version__}")
