"""`mambatalk evaluate`: every metric of any method's result files."""

from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer()


@app.command()
def evaluate(
    result: Annotated[
        Path,
        typer.Argument(help="A result npz, or a folder of them (`res_` before a name is fine)."),
    ],
    *,
    truth: Annotated[Path, typer.Option(help="Ground truth npz, or a folder of them.")],
    audio: Annotated[Path, typer.Option(help="Speech wav, or a folder of them.")],
    sem: Annotated[
        Path | None, typer.Option(help="Semantic annotation, or a folder of them; SRGR needs it.")
    ] = None,
    body: Annotated[
        Path | None, typer.Option(help="SMPL-X npz; without it a stand-in body, and a note.")
    ] = None,
    fgd: Annotated[
        Path | None, typer.Option(help="AESKConv_240_100.bin, or a folder of ours; FGD needs it.")
    ] = None,
    mean_velocity: Annotated[
        Path | None,
        typer.Option(
            help="mean_vel_smplxflame_30.npy; without it the speeds of the ground truth given."
        ),
    ] = None,
    layout: Annotated[str, typer.Option("--format", help="markdown, latex or csv.")] = "markdown",
    json: Annotated[
        bool, typer.Option("--json", help="Print raw values, intervals and clips as data.")
    ] = False,
) -> None:
    """Score result files with FGD, BC, L1 diversity, face MSE, LVD and SRGR, as published and
    corrected.

    Folders are matched by clip name; the table then has 95 % confidence intervals over clips
    (bootstrap; FGD: jackknife). The ground-truth row is what the metrics say of the recording
    itself.
    """
    from mambatalk.evaluation import result_files
    from mambatalk.evaluation.table import check_format, metrics_table

    chosen = check_format(layout)
    scores = result_files.evaluate(
        result,
        truth,
        audio,
        semantics=sem,
        body=body,
        fgd=fgd,
        mean_velocity=mean_velocity,
    )
    if json:
        _print_json(scores)
        return
    typer.echo(metrics_table(scores, chosen), nl=False)
    for note in scores["notes"]:
        typer.echo(f"note: {note}", err=True)


def _print_json(scores: dict[str, Any]) -> None:
    import json

    typer.echo(json.dumps(scores, indent=2, sort_keys=True, allow_nan=False))
