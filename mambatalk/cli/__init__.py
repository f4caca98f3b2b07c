"""The `mambatalk` command.

Exit codes: 0 success; 1 the result is negative (a check or a parity test failed); 2 bad input or
usage, reported in one line on standard error; 130 stopped by Ctrl-C; 143 stopped by SIGTERM.
Commands import heavy packages only when they run, so that `--help` is fast.
"""

import os
import re
import signal
import sys
from importlib.metadata import requires
from typing import Annotated, Final, NoReturn

import typer

import mambatalk
from mambatalk.cli.arkit import app as blend_shapes
from mambatalk.cli.bench import app as bench
from mambatalk.cli.data import app as data
from mambatalk.cli.download import app as downloads
from mambatalk.cli.evaluate import app as evaluation
from mambatalk.cli.generate import app as generation
from mambatalk.cli.judge import app as judging
from mambatalk.cli.published import app as published
from mambatalk.cli.serve import app as service
from mambatalk.cli.view import app as viewing
from mambatalk.errors import InputError

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
)
for group in (
    generation,
    viewing,
    blend_shapes,
    service,
    data,
    judging,
    downloads,
    evaluation,
    published,
    bench,
):
    app.add_typer(group)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mambatalk {mambatalk.__version__}")
        raise typer.Exit


@app.callback()
def describe(
    *,
    _: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Generate whole-body SMPL-X motion from speech.

    To try the tools without any data, make a small corpus and check it:

        mambatalk sample /tmp/corpus
        mambatalk check /tmp/corpus

    `make repro` in the repository trains a model on such a corpus. `mambatalk COMMAND --help`
    explains a command and shows examples.

    **Exit codes:** 0 success; 1 the result is negative, for example a failed check; 2 bad input or
    usage; 130 stopped by Ctrl-C; 143 stopped by SIGTERM.
    """


def main() -> None:
    """Run the command line.

    An `InputError`, or a missing package of an extra, is reported in one line on standard error
    with exit code 2. Ctrl-C and SIGTERM remove temporary files and exit with 130 and 143.
    """
    for number in _SIGNALS:
        signal.signal(number, _stop)
    # Threads of PyTorch that wait spin briefly and then sleep. By default they spin for long, which
    # costs two threads a third of their speed on a busy machine; sleeping at once costs them a
    # fifth on an idle one (docs/decisions.md). OpenMP reads the variables when torch is imported.
    # The second one has precedence, so it is left alone where a user has set the first.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    try:
        app(prog_name="mambatalk")
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


def _stop(number: int, _: object) -> NoReturn:
    # Worker processes pass Ctrl-C on, so it arrives several times.
    for one in _SIGNALS:
        signal.signal(one, signal.SIG_IGN)
    # An exception, because the default action would leave temporary files and processes behind.
    sys.stderr.write(f"mambatalk: stopped by {signal.Signals(number).name}\n")
    sys.exit(128 + number)


def extra_with(module: str) -> str | None:
    """Return the first extra of this package that declares the distribution of a module."""
    name = module.split(".")[0].replace("_", "-")
    for requirement in requires("mambatalk") or ():
        match = re.fullmatch(r"([\w.-]+).*; extra == ['\"](\w+)['\"]", requirement)
        if match and match[1].lower().replace("_", "-") == name:
            return match[2]
    return None
