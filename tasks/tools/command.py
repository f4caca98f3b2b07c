"""How a command for people ends where its input is bad: one line on standard error, exit code 2."""

import sys
from collections.abc import Callable

from mambatalk.errors import InputError


def run_tool(work: Callable[[], object]) -> None:
    """Call `work`, and end the process with one line where it raises a `InputError`."""
    try:
        work()
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
