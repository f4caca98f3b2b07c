"""Return to the previous champion: `python -m flows.rollback --reason "..."`.

The champion's alias moves to the version `previous`, or to an earlier champion with `--to`. Nothing
is deleted: the version that is left stays registered, but is no challenger again unless a person
names it (`python -m flows.promote --version N`). A rollback that was interrupted is finished by the
same command.
"""

import sys
from typing import Annotated, Any

import typer
from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from flows.errors import errors_in_one_line
from flows.server import check_server
from flows.supervise import run_supervised
from mambatalk.errors import InputError
from tasks.registry.aliases import check_rollback, roll_back
from tasks.registry.store import open_registry, registry_errors


@task(task_run_name="move aliases", cache_policy=NO_CACHE, persist_result=False)
def roll_back_task(reason: str, to: str | None, operation: str) -> tuple[str | None, str]:
    """Move the aliases; return the champion before and after."""
    client = open_registry()
    with registry_errors():
        change = roll_back(client, reason=reason, operation=operation, to=to)
    return change.from_version, change.to_version


@flow(name="rollback", persist_result=False)
def rollback(reason: str, to: str | None = None) -> State:
    """Make the previous champion the champion again.

    Args:
        reason: Why, for the history.
        to: Earlier champion to return to. If None, the version with the alias `previous`.

    Returns:
        A state whose message says what was done. Its result has `from`, the champion before, and
        `champion`, the champion now.

    Raises:
        InputError: There is no earlier champion, `reason` is empty, the registry does not answer,
            or Prefect's server has another version.

    """
    if not reason.strip():
        raise InputError("--reason", "expected a reason, found none", "say why; it is kept")
    check_server()
    # The same flow run, repeated by Prefect, makes no second step back.
    before, now = roll_back_task(reason, to, str(flow_run.get_id() or ""))
    message = f"Version {before} was replaced by version {now}: {reason}"
    create_markdown_artifact(message, key="rollback", description=f"Back to version {now}")
    return Completed(message=message, data={"from": before, "champion": now})


def main(
    reason: Annotated[str, typer.Option(help="Why; it is kept in the history.")],
    to: Annotated[
        str | None, typer.Option(help="Earlier champion, instead of the previous one.")
    ] = None,
) -> None:
    """Return to the previous champion."""
    with errors_in_one_line("rollback"):
        # Before Prefect starts, so that bad input is one line and nothing else.
        check_server()
        client = open_registry()
        with registry_errors():
            check_rollback(client, to)
        run_supervised()
        state: State[Any] = rollback(reason, to, return_state=True)
        outcome = state.result()
    sys.stdout.write(f"version {outcome['champion']} is the champion, and not {outcome['from']}\n")


if __name__ == "__main__":
    typer.run(main)
