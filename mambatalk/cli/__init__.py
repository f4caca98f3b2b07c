"""The `mambatalk` command: one line for bad input, exit codes that scripts can read.

0 fine; 1 the answer is no (a check or a parity that fails); 2 bad input or usage; 143 stopped by
SIGTERM with state saved. Commands live beside the part they serve; nothing heavy is imported before
one runs.
"""

import sys

import typer

from mambatalk.cli.bench import app as bench
from mambatalk.cli.data import app as data
from mambatalk.cli.download import app as downloads
from mambatalk.cli.evaluate import app as evaluation
from mambatalk.cli.published import app as published
from mambatalk.errors import InputError

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
    help="""Speech to whole-body SMPL-X motion.

    Five minutes with no data: `mambatalk sample /tmp/corpus` speaks and moves a small corpus in BEATX layout, and
    `mambatalk check /tmp/corpus` reads it as any corpus is read before a person trains on it. `make repro` in the
    repository trains on it.
    """,
)
for part in (data, downloads, evaluation, published, bench):
    app.add_typer(part)


def main() -> None:
    """Run the command line; a `InputError` ends in one line on standard error and exit code 2."""
    try:
        app()
    except InputError as error:
        sys.stderr.write(f"mambatalk: {error}\n")
        sys.exit(2)
