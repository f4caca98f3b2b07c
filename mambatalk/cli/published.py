"""Commands about the published model: `mambatalk parity` and `mambatalk import-published`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mambatalk.console import progress_bar

if TYPE_CHECKING:
    from mambatalk.published.importing import FileSummary
    from mambatalk.published.parity import Report

app = typer.Typer()
PANEL = "Published model"


@app.command(rich_help_panel=PANEL)
def parity(
    directory: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="Folder of reference numbers, one npz per module."),
    ],
    *,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    complete: Annotated[
        bool, typer.Option("--complete", help="Fail if a known file is absent.")
    ] = False,
) -> None:
    """Compare our numbers with those of the published implementation.

    Networks, selective scan, features, metrics and synthesis are compared. The relative error must
    be at most 1e-5 for a module and 1e-4 for synthesis; codes, ids and contacts must be equal.

    **Exit codes:** 0 all errors within their tolerances; 1 an error larger, or with `--complete`
    a file is absent; 2 bad input.

    **Example**

        mambatalk parity fixtures/ --complete
    """
    from mambatalk.published.parity import run_parity

    with progress_bar("comparing files") as progress:
        report = run_parity(directory, progress=progress)
    if json:
        _print_json(report, complete=complete)
    else:
        _print_table(report)
    raise typer.Exit(0 if report.ok(complete=complete) else 1)


@app.command("import-published", rich_help_panel=PANEL)
def import_published(
    directory: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER", help="Folder of the published .bin files and, if there, vocab.pkl."
        ),
    ],
    *,
    out: Annotated[
        Path, typer.Option(help="Bundle to write; the FGD encoder is written next to it.")
    ],
) -> None:
    """Convert the published weights to a bundle.

    Reads face, upper, hands, lower_foot, foot and mambatalk_100 (.bin) and, if they are there,
    AESKConv_240_100.bin and vocab.pkl. Every key is used, or listed with the reason why it is not.
    No code in the files is executed.

    **Example**

        mambatalk import-published /data/mambatalk_weights --out bundles/published
    """
    from mambatalk.models.fgd.storage import save_fgd_encoder
    from mambatalk.published.importing import import_published_files, to_bundle

    with progress_bar("reading weights") as progress:
        model = import_published_files(directory, progress=progress)
    to_bundle(model).save(out)
    typer.echo(f"bundle: {out}")
    if model.fgd_encoder is not None:
        folder = out.with_name(f"{out.name}_fgd")
        save_fgd_encoder(folder, model.fgd_encoder)
        typer.echo(f"FGD encoder: {folder}")
    if model.vocabulary is None:
        typer.echo("no vocab.pkl: the bundle has no vocabulary and uses audio only")
    _print_summaries(model.summaries)


def _print_summaries(summaries: "list[FileSummary]") -> None:
    for summary in summaries:
        typer.echo(
            f"{summary.file}: {summary.used} keys used,"
            f" {summary.parameters:,} parameters in the file"
        )
        for key, reason in summary.left_out.items():
            typer.echo(f"  left out: {key} ({reason})")


def _print_json(report: "Report", *, complete: bool) -> None:
    import json

    rows = [
        {
            "file": measure.file,
            "quantity": measure.quantity,
            "error": measure.error if measure.error < float("inf") else None,
            "tolerance": measure.tolerance,
            "ok": measure.ok,
            "note": measure.note,
        }
        for measure in report.measures
    ]
    typer.echo(
        json.dumps(
            {"ok": report.ok(complete=complete), "absent": report.absent, "measures": rows},
            indent=2,
        )
    )


def _print_table(report: "Report") -> None:
    from rich.console import Console
    from rich.table import Column, Table

    table = Table(
        "file", Column("quantity", overflow="fold"), "relative error", "tolerance", "ok", "note"
    )
    for measure in report.measures:
        table.add_row(
            measure.file,
            measure.quantity,
            f"{measure.error:.1e}",
            f"{measure.tolerance:.0e}" if measure.tolerance else "exact",
            "yes" if measure.ok else "[bold red]no[/]",
            measure.note,
        )
    console = Console()
    console.print(table)
    for name in report.absent:
        console.print(f"absent: {name}.npz")
    failed = sum(not measure.ok for measure in report.measures)
    console.print(
        f"{len(report.measures) - failed} of {len(report.measures)} within their tolerances"
    )
