"""Commands about the published implementation: `mambatalk parity` and `mambatalk
import-published`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mambatalk.published.importing import FileAccount
    from mambatalk.published.parity import Report

app = typer.Typer()


@app.command()
def parity(
    directory: Annotated[
        Path, typer.Argument(help="Folder of reference numbers, one npz a module.")
    ],
    *,
    json: Annotated[bool, typer.Option("--json", help="Print data in place of a table.")] = False,
    complete: Annotated[
        bool, typer.Option("--complete", help="Fail where a known file is absent.")
    ] = False,
) -> None:
    """Compare our network, scan, features, metrics and rollout with the published implementation's
    numbers.

    Exits with 1 if any relative error is over its bar: 1e-5 a module, 1e-4 a rollout, 0 for codes,
    ids and contacts.
    """
    from mambatalk.published.parity import run_parity

    report = run_parity(directory)
    if json:
        _print_json(report, complete=complete)
    else:
        _print_table(report)
    raise typer.Exit(0 if report.ok(complete=complete) else 1)


@app.command("import-published")
def import_published(
    directory: Annotated[
        Path, typer.Argument(help="Folder of the published .bin files and, if there, vocab.pkl.")
    ],
    *,
    out: Annotated[Path, typer.Option(help="Bundle to write; the FGD encoder goes beside it.")],
) -> None:
    """Turn the published weights into a bundle, and say of every key whether it is used or why it
    is left out.

    Reads face, upper, hands, lower_foot, foot and mambatalk_100 (.bin), and where they are there
    AESKConv_240_100.bin and vocab.pkl. Nothing in the files is run.
    """
    from mambatalk.models.fgd.storage import save_fgd_encoder
    from mambatalk.published.importing import import_published_files, to_bundle

    model = import_published_files(directory)
    to_bundle(model).save(out)
    typer.echo(f"bundle: {out}")
    if model.fgd_encoder is not None:
        folder = out.with_name(f"{out.name}_fgd")
        save_fgd_encoder(folder, model.fgd_encoder)
        typer.echo(f"FGD encoder: {folder}")
    if model.vocabulary is None:
        typer.echo("no vocab.pkl: the bundle knows no words and goes by sound alone")
    _print_accounts(model.accounts)


def _print_accounts(accounts: "list[FileAccount]") -> None:
    for account in accounts:
        typer.echo(
            f"{account.file}: {account.used} keys used, {account.parameters:,} parameters in the file"
        )
        for key, reason in account.left_out.items():
            typer.echo(f"  left out: {key} ({reason})")


def _print_json(report: "Report", *, complete: bool) -> None:
    import json

    rows = [
        {
            "file": m.file,
            "quantity": m.quantity,
            "error": m.error if m.error < float("inf") else None,
            "bar": m.bar,
            "ok": m.ok,
            "note": m.note,
        }
        for m in report.measures
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
        "file", Column("quantity", overflow="fold"), "relative error", "bar", "ok", "note"
    )
    for m in report.measures:
        table.add_row(
            m.file,
            m.quantity,
            f"{m.error:.1e}",
            f"{m.bar:.0e}" if m.bar else "exact",
            "yes" if m.ok else "[bold red]no[/]",
            m.note,
        )
    console = Console()
    console.print(table)
    for name in report.absent:
        console.print(f"absent: {name}.npz")
    failed = sum(not m.ok for m in report.measures)
    console.print(f"{len(report.measures) - failed} of {len(report.measures)} within their bars")
