"""Promote the challenger if the gate lets it pass: `python -m flows.promote`.

The gate scores champion and challenger again on the test clips of this checkout (`tasks.gate`).
For the verdict "promote" the challenger becomes the champion; "reject" and "inconclusive" keep the
champion. With `--approve` the run pauses before that and waits for a person on the Prefect server.
The page `runs/promotion/index.html` shows every rule with its numbers, and what to look at.

Exit code 0: promoted, or nothing to decide. 1: the champion stays. 2: bad input.
"""

import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from prefect.runtime import flow_run
from prefect.settings import get_current_settings
from prefect.states import Completed

from flows.commands import ProcessGroup
from flows.errors import errors_in_one_line
from flows.server import check_server
from flows.stages import run_module
from flows.summary import decision_summary
from flows.supervise import run_supervised
from flows.workspace import Workspace
from mambatalk.errors import InputError
from mambatalk.files import read_json
from tasks.gate.files import DECISION, PAGE, decision_folder
from tasks.registry.aliases import promote_version, read_aliases
from tasks.registry.store import no_version, open_registry, read_version, registry_errors

TOOL: Final = "tasks.gate"
STATES: Final = {
    "promote": "Promoted",
    "reject": "Rejected",
    "inconclusive": "Inconclusive",
    "none": "Unchanged",
}
"""Names of final states by verdict, for pages and alerts."""
_TIMEOUT_SECONDS: Final = 6 * 3600.0
_SECONDS_PER_HOUR: Final = 3600.0


class Approval(RunInput):
    """What a person says about a promotion; the Prefect server shows it as a form."""

    approve: bool = True
    reason: str = ""


@task(task_run_name="gate", cache_policy=NO_CACHE, persist_result=False)
def gate_task(root: str, version: str | None) -> None:
    """Score champion and challenger, and write the decision to `runs/promotion`."""
    # In a process of its own, as stages are: its memory is free before a person is asked.
    options = ["--version", version] if version else []
    run_module(
        Workspace.open(root),
        TOOL,
        *options,
        on_line=get_run_logger().info,
        timeout=_TIMEOUT_SECONDS,
    )


@task(task_run_name="move aliases", cache_policy=NO_CACHE, persist_result=False)
def move_task(version: str, why: str, operation: str) -> None:
    """Make a version the champion; the champion becomes `previous`."""
    client = open_registry()
    with registry_errors():
        promote_version(client, version, why=why, operation=operation)


@flow(name="promote", persist_result=False)
def promote(
    root: str = ".",
    version: str | None = None,
    approve: bool = False,
    approval_hours: float = 24,
) -> State:
    """Decide about the challenger, and make it the champion if it is better.

    Args:
        root: Root of the checkout in which the challenger was built.
        version: Version to decide about. If None, the one with the alias `challenger`.
        approve: Pause before the promotion until a person approves on the Prefect server. Prefect
            cannot pause a flow run that another flow called.
        approval_hours: Longest wait for the approval.

    Returns:
        A state "Promoted", "Rejected", "Inconclusive", or "Unchanged" if there is nothing to
        decide, whose message is the reason. Its result has `verdict` ("promote", "reject",
        "inconclusive" or "none"), `version` that was decided about, `champion` now, `reason`, and
        `page`, the path of the decision's page.

    Raises:
        StageError: The gate could not be run; kind "config" for bad input.
        InputError: The registry does not answer, or has no version to decide about; or Prefect's
            server has another version.

    """
    check_server()
    outcome = _promote(root, version, approve, approval_hours)
    name = STATES[outcome["verdict"]]
    return Completed(name=name, message=outcome["reason"], data=outcome)


def _promote(
    root: str, version: str | None, approve: bool, approval_hours: float
) -> dict[str, Any]:
    workspace = Workspace.open(root)
    if approve:
        _require_approval_possible()
    client = open_registry()
    with registry_errors():
        aliases = read_aliases(client)
    number = version or aliases.challenger
    if number is None and aliases.champion is None:
        raise no_version()
    if number is None or number == aliases.champion:
        if number:
            # Drops the alias that an interrupted promotion left.
            move_task(number, "finish an interrupted promotion", _operation())
        return {
            "verdict": "none",
            "version": number,
            "champion": aliases.champion,
            "reason": f"There is no challenger; version {aliases.champion} stays the champion.",
            "page": None,
        }

    folder = decision_folder(workspace.paths)
    # An earlier decision must not be taken for this one.
    (folder / DECISION).unlink(missing_ok=True)
    with ProcessGroup():
        gate_task(str(workspace.root), version)
    decision = read_json(folder / DECISION)
    page = folder / PAGE
    create_markdown_artifact(
        decision_summary(decision, page),
        key="promotion",
        description=f"Version {number}: {decision['verdict']}",
    )
    verdict, reason = decision["verdict"], decision["reason"]
    if verdict == "promote" and approve:
        verdict, reason = _ask(page, reason, approval_hours)
    champion = aliases.champion
    if verdict == "promote":
        move_task(number, reason, _operation())
        champion = number
    return {
        "verdict": verdict,
        "version": number,
        "champion": champion,
        "reason": reason,
        "page": str(page),
    }


def _check_versions(version: str | None) -> None:
    client = open_registry()
    with registry_errors():
        aliases = read_aliases(client)
        if version is not None:
            read_version(client, version)
    if version is None and aliases.challenger is None and aliases.champion is None:
        raise no_version()


def _operation() -> str:
    return str(flow_run.get_id() or "")


def _require_approval_possible() -> None:
    if not get_current_settings().api.url:
        raise InputError(
            "--approve",
            "expected a server on which a person can approve, found no PREFECT_API_URL",
            "run `prefect server start`, then this command with "
            "PREFECT_API_URL=http://127.0.0.1:4200/api",
        )
    if flow_run.get_parent_flow_run_id():
        raise InputError(
            "approve",
            "expected a flow run of its own, found one that another flow called",
            "Prefect cannot pause it; run the deployment `promote` instead",
        )


def _ask(page: Path, reason: str, hours: float) -> tuple[str, str]:
    """Pause until a person answers; return the verdict and the reason."""
    get_run_logger().info("waiting for approval; look at %s, then resume this run", page)
    try:
        answer = pause_flow_run(
            wait_for_input=Approval.with_initial_data(
                description=f"The gate says promote: {reason} Look at {page} and the videos."
            ),
            timeout=int(hours * _SECONDS_PER_HOUR),
            poll_interval=5,
        )
    except FlowPauseTimeout:
        return "inconclusive", f"Nobody approved within {hours:g} h."
    if not answer.approve:
        return "reject", f"A person did not approve: {answer.reason or 'no reason given'}"
    return "promote", " ".join(filter(None, (reason, "Approved by a person.", answer.reason)))


def main(
    root: Annotated[str, typer.Option(help="Root of the checkout.")] = ".",
    version: Annotated[
        str | None, typer.Option(help="Version to decide about, instead of the challenger.")
    ] = None,
    approve: Annotated[
        bool, typer.Option("--approve", help="Wait for a person's approval on the Prefect server.")
    ] = False,
    approval_hours: Annotated[float, typer.Option(help="Longest wait for approval.")] = 24,
) -> None:
    """Decide about the challenger, and promote it if it is better than the champion."""
    with errors_in_one_line("promote"):
        # Before Prefect starts, so that bad input is one line and nothing else.
        Workspace.open(root)
        check_server()
        _check_versions(version)
        if approve:
            _require_approval_possible()
        run_supervised()
        state: State[Any] = promote(root, version, approve, approval_hours, return_state=True)
        outcome = state.result()
    where = f"\nPage: {outcome['page']}" if outcome["page"] else ""
    sys.stdout.write(f"{outcome['verdict']}: {outcome['reason']}{where}\n")
    sys.exit(0 if outcome["verdict"] in ("promote", "none") else 1)


if __name__ == "__main__":
    typer.run(main)
