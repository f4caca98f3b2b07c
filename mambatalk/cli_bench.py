"""Benchmarks: `mambatalk bench ...`. They print what this machine does and judge nothing."""

import typer

bench = typer.Typer(no_args_is_help=True, help="Measure speed on this machine.")
app = typer.Typer()
app.add_typer(bench, name="bench")
