"""Register the bundle of a checkout as the challenger: `python -m tasks.registry`."""

from pathlib import Path
from typing import Annotated

import typer

from tasks.registry.registration import register
from tasks.runtime.command import run_command


def _register(
    root: Annotated[Path, typer.Option(help="Root of the checkout.")] = Path(),
) -> None:
    typer.echo(register(root).message)


if __name__ == "__main__":
    run_command(_register, "tasks.registry", __doc__)
