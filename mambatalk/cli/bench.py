"""The benchmarks of `mambatalk bench`: scan, step, train, data, generate and serve.

They print measurements of this machine, with targets where there are any, and exit with code 0.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from mambatalk.console import progress_bar

if TYPE_CHECKING:
    from mambatalk.bench.measurement import Measurement

SMALL_SAMPLE_HOURS: Final = 0.5
"""Smallest sample to measure: shorter ones measure the start of processes."""

bench = typer.Typer(no_args_is_help=True, help="Measure the speed of this machine.")
app = typer.Typer()
app.add_typer(bench, name="bench", rich_help_panel="Speed")


@bench.command()
def scan(
    *,
    batch: Annotated[int, typer.Option(min=1, help="Number of sequences.")] = 8,
    channels: Annotated[
        int, typer.Option(min=1, help="Channels of a sequence; 1536 in the paper.")
    ] = 1536,
    state: Annotated[int, typer.Option(min=1, help="State size of a channel.")] = 16,
    steps: Annotated[int, typer.Option(min=1, help="Steps of a sequence; a window has 64.")] = 64,
    repeat: Annotated[int, typer.Option(min=1, help="Repetitions; the best counts.")] = 3,
    threads: Annotated[
        int, typer.Option(min=0, help="Threads of PyTorch; 0 keeps the default.")
    ] = 0,
) -> None:
    """Compare speed and accuracy of implementations of the selective scan.

    The table shows our scan, a loop over steps, a chunked scan and PyTorch's `associative_scan`.

    **Example**

        mambatalk bench scan --batch 64 --threads 2
    """
    import torch
    from rich.console import Console
    from rich.table import Table

    from mambatalk.bench.scan import measure_scans

    if threads:
        torch.set_num_threads(threads)
    with progress_bar("timing scans") as progress:
        timings = measure_scans(
            batch=batch,
            channels=channels,
            state=state,
            steps=steps,
            repeat=repeat,
            progress=progress,
        )
    our_seconds = timings[0].forward + timings[0].backward
    table = Table("scan", "forward ms", "backward ms", "relative time", "error")
    for timing in timings:
        seconds = timing.forward + timing.backward
        table.add_row(
            timing.name,
            f"{1e3 * timing.forward:.1f}",
            f"{1e3 * timing.backward:.1f}",
            f"{seconds / our_seconds:.1f}",
            f"{timing.error:.0e}",
        )
    console = Console()
    console.print(table)
    console.print(
        f"batch {batch}, {channels} channels, state {state}, {steps} steps, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}"
    )


@bench.command()
def step(
    *,
    profile: Annotated[Path, typer.Option(help="Parameter file with the sizes.")] = Path(
        "params.yaml"
    ),
    steps: Annotated[int, typer.Option(min=1, help="Steps to measure.")] = 20,
    threads: Annotated[int, typer.Option(min=1, help="Threads of PyTorch.")] = 1,
) -> None:
    """Measure a training step of the generator at the size of a profile.

    **Example**

        mambatalk bench step --threads 2
    """
    from mambatalk.bench.step import measure_generator_step
    from mambatalk.config import load_config
    from mambatalk.runtime import device, make_deterministic

    config = load_config(profile)
    make_deterministic(config.seed, threads)
    with progress_bar("timing steps") as progress:
        seconds = measure_generator_step(config, steps=steps, device=device(), progress=progress)
    typer.echo(
        f"generator: {1e3 * seconds:.1f} ms a step, median of {steps} "
        f"({device().type}, {threads} threads, batch {config.train_generator.batch_size})"
    )


@bench.command()
def train(
    *,
    profile: Annotated[Path, typer.Option(help="Parameter file with the sizes.")] = Path(
        "infra/profiles/paper.yaml"
    ),
    steps: Annotated[int, typer.Option(min=1, help="Steps of a repetition.")] = 10,
    repeat: Annotated[int, typer.Option(min=1, help="Repetitions of every kind of step.")] = 5,
    network: Annotated[
        Literal["generator", "face", "upper", "hands", "lower", "global"],
        typer.Option(help="The generator, or one of the auto-encoders."),
    ] = "generator",
) -> None:
    """Compare a training step with the published one, in turns, on one device.

    On a GPU the generator's published step is measured twice: with PyTorch's default flags, and
    with TF32 for all products. At full size this needs a GPU of 80 GB.

    Started with `torchrun --standalone --nproc-per-node 2 --no-python` in front, the command times
    our step on one GPU, on all GPUs with the batch divided among them, and on all GPUs with a whole
    batch each. The column "times as fast" then compares windows per second.

    **Examples**

        mambatalk bench train --profile infra/profiles/sample.yaml --steps 2
        mambatalk bench train --network upper
    """
    import torch
    from rich.console import Console
    from rich.table import Table

    from mambatalk.bench.train import measure_training
    from mambatalk.config import load_config
    from mambatalk.runtime import device
    from mambatalk.training.loop.distributed import is_first, joined_processes

    config = load_config(profile)
    target = device()
    with joined_processes(), progress_bar("timing steps") as progress:
        timings = measure_training(
            config,
            network,
            steps=steps,
            repeat=repeat,
            device=target,
            progress=progress if is_first() else None,
        )
    if not is_first():
        return
    table = Table("step", "median ms", "range ms", "times as fast", "memory GiB")
    for timing in timings:
        table.add_row(
            timing.name,
            f"{1e3 * timing.median:.1f}",
            f"{1e3 * min(timing.seconds):.1f} to {1e3 * max(timing.seconds):.1f}",
            f"{timing.speed / timings[0].speed:.2f}",
            f"{timing.memory / 2**30:.1f}" if timing.memory else "",
        )
    console = Console()
    console.print(table)
    section = config.train_generator if network == "generator" else config.train_vq.common
    batch_size = section.batch_size
    name = torch.cuda.get_device_name(target) if target.type == "cuda" else "CPU"
    console.print(
        f"{network}, batch {batch_size}, {repeat} x {steps} steps, {name}, "
        f"torch {torch.__version__}"
    )


@bench.command()
def data(
    *,
    hours: Annotated[
        float,
        typer.Option(
            min=SMALL_SAMPLE_HOURS,
            help="Hours of sample to generate; a tenth of it is measured as well.",
        ),
    ] = 5,
    root: Annotated[
        Path | None, typer.Option(help="Measure this corpus instead of a sample.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Number of processes.")] = 2,
    json: Annotated[bool, typer.Option("--json", help="Print the measurements as JSON.")] = False,
) -> None:
    """Measure data checks, ingest, feature extraction and the reading of training windows.

    Speed, memory and disk space are measured. The corpus is checked twice, and ingested again after
    one clip was changed. All files are written to a temporary folder, which takes about three times
    the size of the corpus; `TMPDIR` moves it. Generating a sample of 10 hours takes about four
    minutes.

    **Examples**

        mambatalk bench data --hours 1
        mambatalk bench data --root /data/beat2/beat_english_v2.0.0 --workers 16
    """
    import tempfile

    from mambatalk.bench.data import measure_data
    from mambatalk.sample.build import write_sample

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if root is not None:
            corpora = [root]
        else:
            corpora = [folder / "small", folder / "large"]
            sizes = (max(SMALL_SAMPLE_HOURS, hours / 10), hours)
            for corpus, size in zip(corpora, sizes, strict=True):
                with progress_bar(f"generating {size:g} h of sample") as progress:
                    write_sample(
                        corpus,
                        hours=size,
                        speakers=8,
                        seed=2021,
                        workers=workers,
                        progress=progress,
                    )

        measurements = []
        for measurement in measure_data(corpora, folder, workers=workers):
            text = f"{measurement.quantity}: {measurement.value:.4g} {measurement.unit}"
            typer.echo(text, err=True)
            measurements.append(measurement)
    if json:
        _print_json(measurements)
    else:
        _print_table(measurements)


@bench.command()
def generate(
    *,
    bundle: Annotated[
        Path | None,
        typer.Option(help="Folder of the trained model. Without it, an untrained one is measured."),
    ] = None,
    profile: Annotated[
        Path, typer.Option(help="Parameter file with the sizes of the untrained model.")
    ] = Path("infra/profiles/paper.yaml"),
    seconds: Annotated[float, typer.Option(min=5, help="Duration of the speech.")] = 30,
    clips: Annotated[int, typer.Option(min=1, help="Number of clips at once.")] = 4,
    hop: Annotated[int, typer.Option(min=1, help="Frames that each window of a stream adds.")] = 16,
    look_ahead: Annotated[
        int, typer.Option(min=0, help="Frames of speech that a stream waits for after them.")
    ] = 8,
    json: Annotated[bool, typer.Option("--json", help="Print the measurements as JSON.")] = False,
) -> None:
    """Measure synthesis: start, memory, offline, several clips at once, and as a stream.

    The targets are those of the full size on two cores; `OMP_NUM_THREADS` sets the number of
    threads. On a busy machine, compare the lines of processor time instead of the speeds. An
    untrained model is written to a temporary folder (0.8 GB at full size).

    **Examples**

        mambatalk bench generate --bundle bundle
        mambatalk bench generate --hop 16 --look-ahead 16
    """
    import tempfile

    from mambatalk.bench.generate import measure_generation, untrained_bundle
    from mambatalk.config import load_config
    from mambatalk.runtime import device
    from mambatalk.synthesis.layout import Pace

    with tempfile.TemporaryDirectory() as name, progress_bar("measuring synthesis") as progress:
        folder = bundle
        if folder is None:
            folder = Path(name) / "bundle"
            untrained_bundle(load_config(profile)).save(folder)
        measurements = measure_generation(
            folder,
            seconds=seconds,
            clips=clips,
            pace=Pace(hop=hop, look_ahead=look_ahead),
            device=device(),
            progress=progress,
        )
    if json:
        _print_json(measurements)
    else:
        _print_table(measurements)


@bench.command()
def serve(
    *,
    bundle: Annotated[Path, typer.Option(help="Folder of the trained model.")] = Path("bundle"),
    seconds: Annotated[float, typer.Option(min=1, help="Duration of each recording.")] = 5,
    duration: Annotated[float, typer.Option(min=1, help="Seconds that each load lasts.")] = 15,
    waiting: Annotated[
        int, typer.Option(min=1, help="Requests that the service works on at the same time.")
    ] = 16,
) -> None:
    """Measure the load that `mambatalk serve` carries, and its answers at twice that load.

    **Example**

        mambatalk bench serve --bundle bundle --duration 10
    """
    from rich.console import Console
    from rich.table import Table

    from mambatalk.bench.service import measure_service
    from mambatalk.runtime import device

    target = device()
    loads = measure_service(
        bundle, seconds=seconds, duration=duration, waiting=waiting, device=target
    )
    table = Table("load", "sent per s", "motion per s", "median s", "99 % within s", "answers")
    for name, load in zip(("all it carries", "twice as much"), loads, strict=True):
        table.add_row(
            name,
            f"{load.offered:.1f}",
            f"{load.answered:.1f}",
            f"{load.median:.2f}",
            f"{load.percentile_99:.2f}",
            ", ".join(f"{count} x {status}" for status, count in load.statuses.items()),
        )
    console = Console()
    console.print(table)
    console.print(f"{seconds:g} s of speech a request, npz, {waiting} at once ({target.type})")


def _print_json(measurements: "Sequence[Measurement]") -> None:
    import json

    typer.echo(json.dumps([measurement.as_dict() for measurement in measurements], indent=2))


def _print_table(measurements: "Sequence[Measurement]") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("quantity", "measured", "target", "met")
    for measurement in measurements:
        table.add_row(
            measurement.quantity,
            f"{measurement.value:,.4g} {measurement.unit}",
            measurement.target_text,
            {None: "", True: "yes", False: "no"}[measurement.ok],
        )
    Console().print(table)
