"""`mambatalk arkit`: coefficients of ARKit blend shapes as csv."""

import csv
import math
from pathlib import Path
from typing import Annotated

import typer

from mambatalk.cli.loading import BodyOption
from mambatalk.console import progress_bar
from mambatalk.files import atomic_file

app = typer.Typer()


@app.command(rich_help_panel="Results")
def arkit(
    motion: Annotated[Path, typer.Argument(metavar="MOTION.npz", help="SMPL-X motion.")],
    *,
    basis: Annotated[
        Path,
        typer.Option(
            help="npz of the blend shapes: `names` (K,), `vertices` (M,) and `offsets` (K, M, 3) of"
            " the body's vertices in metres."
        ),
    ],
    out: Annotated[Path, typer.Option(help="The csv to write.")],
    body: BodyOption = None,
) -> None:
    r"""Fit coefficients of blend shapes, such as ARKit's, to the face of a motion.

    No basis is included, because none that maps SMPL-X to ARKit is free to use. Coefficients lie in
    [0, 1]. The last line printed says how much of the face's movement they miss. Shapes that turn
    the eyes (eyeLook...) stay empty, because the motion does not move eyes.

    **Example**

        mambatalk arkit results/speech.npz --basis arkit_smplx.npz --out speech.csv \
            --body SMPLX_NEUTRAL_2020.npz
    """
    from mambatalk.export.arkit import fit_shapes, read_basis
    from mambatalk.motion.clip import SmplxMotion
    from mambatalk.serving.output import Bodies

    clip = SmplxMotion.read(motion)
    model = Bodies(path=body).body
    shapes = read_basis(basis, model)
    with progress_bar(f"fitting {motion.name}") as progress:
        fit = fit_shapes(clip, model, shapes, progress)
    with atomic_file(out) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["seconds", *shapes.names, "residual_mm"])
        for frame, (row, residual) in enumerate(zip(fit.coefficients, fit.residual, strict=True)):
            cells = ["" if math.isnan(value) else f"{value:.4f}" for value in row.tolist()]
            writer.writerow([f"{frame / clip.fps:.4f}", *cells, f"{1000 * residual:.4f}"])
    lost = [name for name, kept in zip(shapes.names, shapes.recoverable, strict=True) if not kept]
    if lost:
        typer.echo(f"note: the motion does not move eyes: {', '.join(lost)} stay empty", err=True)
    typer.echo(
        f"{out}: {len(clip)} frames, {len(shapes.names) - len(lost)} shapes; the face moves by"
        f" {1000 * fit.movement.mean():.2f} mm and is missed by {1000 * fit.residual.mean():.2f} mm"
        f" (at most {1000 * fit.residual.max():.2f} mm), root mean square over vertices"
    )
