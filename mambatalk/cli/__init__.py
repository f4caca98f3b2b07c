"""The `mambatalk` command: one line for bad input, exit codes that scripts can read.

0 fine; 1 the answer is no (a check or a parity that fails); 2 bad input or usage; 143 stopped by
SIGTERM with state saved. Commands live beside the part they serve; nothing heavy is imported before
one runs.
"""

import re
import sys
from importlib.metadata import requires

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
    """Run the command line.

    An `InputError`, or a package of an extra that is not installed, ends in one line on standard
    error and exit code 2.
    """
    try:
        app()
    except InputError as error:
        sys.stderr.write(f"mambatalk: {error}\n")
        sys.exit(2)
    except ModuleNotFoundError as error:
        extra = extra_with(error.name or "")
        if extra is None:
            raise
        sys.stderr.write(
            f"mambatalk: this command needs the package {error.name}, which is not installed; "
            f"pip install 'mambatalk[{extra}]'\n"
        )
        sys.exit(2)


def extra_with(module: str) -> str | None:
    """Return the first extra of this package that declares the distribution of a module."""
    name = module.split(".")[0].replace("_", "-")
    for requirement in requires("mambatalk") or ():
        match = re.fullmatch(r"([\w.-]+).*; extra == ['\"](\w+)['\"]", requirement)
        if match and match[1].lower().replace("_", "-") == name:
            return match[2]
    return None
