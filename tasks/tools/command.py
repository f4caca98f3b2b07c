"""How a command for people ends where its input is bad: one line on standard error, exit code 2."""

import sys
from collections.abc import Callable

from mambatalk.errors import UserError


def run_tool(work: Callable[[], object]) -> None:
    """Call `work`, and end the process with one line where it raises a `UserError`."""
    try:
        work()
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
