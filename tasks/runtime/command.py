"""Commands `python -m tasks.MODULE`, built with typer from a function's signature."""

import sys
from collections.abc import Callable
from typing import Any

import typer

from mambatalk.errors import InputError


def run_command(
    command: Callable[..., object],
    module: str,
    description: str | None,
    *,
    epilog: str | None = None,
    pass_options: bool = False,
) -> None:
    """Run a function as a command line, and end the process.

    Bad input (`InputError`) is printed in one line on standard error; the exit code is 2.

    Args:
        command: Function to run; typer reads arguments and options from its signature.
        module: Module of the command, for its usage line.
        description: Text of `--help`, usually the module's docstring.
        epilog: Last paragraph of `--help`.
        pass_options: Whether unknown options are passed on as arguments.

    """
    app = typer.Typer(
        add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="markdown"
    )
    settings: dict[str, Any] = {"ignore_unknown_options": pass_options}
    app.command(help=description, epilog=epilog, context_settings=settings)(command)
    try:
        app(prog_name=f"python -m {module}")
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
