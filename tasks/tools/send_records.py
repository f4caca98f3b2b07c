"""Send what earlier stages recorded while MLflow did not answer."""

import sys

import typer

from tasks.runtime.command import run_command
from tasks.tracking.sender import one_line, send_leftovers


def send_records() -> None:
    """Send all records that wait; exit with 1 if some still do."""
    try:
        send_leftovers()
    except Exception as error:
        sys.stderr.write(f"MLflow fails ({one_line(error)}); start it and run this command again\n")
        raise typer.Exit(1) from None
    sys.stdout.write("MLflow has all records\n")


if __name__ == "__main__":
    run_command(send_records, "tasks.tools.send_records", __doc__)
