"""Decide about the challenger: `python -m tasks.gate`. No alias is moved.

The decision is in `runs/promotion`. Exit code 0, whatever the verdict; 2 for bad input. The flow
`flows.promote` runs this, and moves the aliases.
"""

from pathlib import Path
from typing import Annotated

import typer

from tasks.gate.decision import decide
from tasks.runtime.command import run_command


def _decide(
    root: Annotated[Path, typer.Option(help="Root of the checkout.")] = Path(),
    version: Annotated[
        str | None, typer.Option(help="Version to decide about, instead of the challenger.")
    ] = None,
) -> None:
    decision = decide(root, version)
    if decision is None:
        typer.echo("nothing to decide: no challenger")
        return
    typer.echo(f"{decision.verdict}: {decision.reason}")


if __name__ == "__main__":
    run_command(_decide, "tasks.gate", __doc__)
