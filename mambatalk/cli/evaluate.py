"""`mambatalk evaluate`: every metric of the result files of any method."""

import json as json_format
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mambatalk.console import progress_bar

if TYPE_CHECKING:
    from mambatalk.models.fgd.network import FGDEncoder

app = typer.Typer()


@app.command(rich_help_panel="Results")
def evaluate(
    result: Annotated[
        Path,
        typer.Argument(
            metavar="RESULT", help="A result npz, or a folder of them. A prefix `res_` is ignored."
        ),
    ],
    *,
    truth: Annotated[Path, typer.Option(help="Ground truth npz, or a folder of them.")],
    audio: Annotated[Path, typer.Option(help="Speech wav, or a folder of them.")],
    sem: Annotated[
        Path | None,
        typer.Option(help="Semantic annotation, or a folder of them. Required for SRGR."),
    ] = None,
    body: Annotated[
        Path | None,
        typer.Option(help="SMPL-X npz. Without it the stand-in body is used, and a note says so."),
    ] = None,
    fgd: Annotated[
        Path | None,
        typer.Option(
            help="AESKConv_240_100.bin, or a folder of an encoder trained here. Required for FGD."
        ),
    ] = None,
    mean_velocity: Annotated[
        Path | None,
        typer.Option(
            help="mean_vel_smplxflame_30.npy. Without it BC uses the speeds of the ground truth."
        ),
    ] = None,
    layout: Annotated[str, typer.Option("--format", help="markdown, latex or csv.")] = "markdown",
    json: Annotated[
        bool, typer.Option("--json", help="Print raw values, intervals and clips as JSON.")
    ] = False,
) -> None:
    r"""Score result files with FGD, BC, diversity, face MSE, LVD, SRGR and kernel distance.

    Each metric of the field is printed as published and corrected. A second table says how much,
    how fast and how smoothly each part moves, whether it moves as in the recording, and where the
    body stands: drift, height, foot skating and floor penetration. Read both beside ground truth,
    whose row and column score the recordings themselves.

    Files in folders are matched by clip name, and the tables then have 95 % confidence intervals
    over clips (bootstrap; for FGD and kernel distance jackknife).

    **Examples**

    Score one clip:

        mambatalk evaluate out.npz --truth 2_scott_0_1_1.npz --audio 2_scott_0_1_1.wav

    Score a folder with all metrics, and print a LaTeX table:

        mambatalk evaluate results/ --truth beat_english_v2.0.0/smplxflame_30 \
            --audio beat_english_v2.0.0/wave16k --sem beat_english_v2.0.0/sem \
            --body smplx/SMPLX_NEUTRAL_2020.npz --fgd weights/AESKConv_240_100.bin --format latex
    """
    from mambatalk.evaluation import result_files
    from mambatalk.evaluation.table import check_format, metrics_table

    chosen = check_format(layout)
    fgd_encoder = _load_fgd_encoder(fgd) if fgd else None
    with progress_bar("scoring clips") as progress:
        scores = result_files.evaluate(
            result,
            truth,
            audio,
            semantics=sem,
            body=body,
            fgd_encoder=fgd_encoder,
            mean_velocity=mean_velocity,
            progress=progress,
        )
    if json:
        typer.echo(json_format.dumps(scores, indent=2, sort_keys=True, allow_nan=False))
        return
    typer.echo(metrics_table(scores, chosen), nl=False)
    for note in scores["notes"]:
        typer.echo(f"note: {note}", err=True)


def _load_fgd_encoder(path: Path) -> "FGDEncoder":
    """Read the published encoder from its checkpoint, or one trained here from its folder."""
    if path.is_dir():
        from mambatalk.models.fgd.storage import load_fgd_encoder

        return load_fgd_encoder(path)
    from mambatalk.published.fgd import import_fgd_encoder

    return import_fgd_encoder(path)
