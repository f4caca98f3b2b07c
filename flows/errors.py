"""How the commands of flows end: one line on stderr and an exit code, without a traceback."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import httpx

from flows.stages import StageError
from mambatalk.errors import InputError

_EXIT_CODES: Final = {"config": 2, "cancelled": 130}
"""By kind of a `StageError`; 1 for all others."""


@contextmanager
def errors_in_one_line(command: str) -> Iterator[None]:
    """End the process with one line if the block raises an error that the user can fix.

    Args:
        command: Name at the start of the line.

    """
    try:
        yield
    except InputError as error:
        sys.stderr.write(f"{command}: {error}\n")
        sys.exit(2)
    except StageError as error:
        sys.stderr.write(f"{command}: {error}\n")
        sys.exit(_EXIT_CODES.get(error.kind, 1))
    except httpx.TransportError as error:
        sys.stderr.write(
            f"{command}: Prefect's server does not answer any more ({error}); start it again, or "
            "unset PREFECT_API_URL, and run the same command again\n"
        )
        sys.exit(1)
