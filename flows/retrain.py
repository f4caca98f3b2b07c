"""Rebuild in a git worktree, propose the result, and promote it: `python -m flows.retrain`.

The run pulls data and DVC's run cache, builds stage by stage, pushes what is new, and commits
`dvc.lock` with the metrics to the branch retrain/RUN. The repository's own files and branches stay
as they are. If nothing has changed since a proposal or the commit itself, it makes no branch and
says so. Then it registers the bundle, and the promotion gate decides whether it becomes the
champion. A run that was stopped or killed continues from its checkpoints when it runs again.

Exit code 0: promoted, or nothing to decide. 1: the champion stays, a stage failed, or a server does
not answer. 2: bad input. 130 or 143: stopped by a signal.
"""

import os
import re
import sys
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import typer
from prefect import flow, get_client, get_run_logger, runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import CancelledRun
from prefect.states import Cancelled, Completed, Failed

from flows.build import build_workspace, is_retryable
from flows.commands import ProcessGroup
from flows.errors import errors_in_one_line
from flows.promote import STATES, promote
from flows.server import check_server
from flows.stages import StageError, run_dvc, run_module
from flows.supervise import run_supervised
from flows.watch import stop_when_cancelled
from flows.workspace import Workspace
from flows.worktrees import (
    has_dvc_remote,
    only_retrain,
    propose,
    resolve_commit,
    start_from_last_results,
    worktree,
)
from mambatalk.errors import InputError
from tasks.gate.files import VERDICT_TAG
from tasks.registry.aliases import read_aliases
from tasks.registry.store import open_registry, read_version, registry_errors

MAX_RERUNS: Final = 3
"""How often a run that crashed may be scheduled again. The flow counts, as automations cannot."""
Until = Literal["proposal", "registration", "promotion"]
_TRANSFER_SECONDS: Final = 12 * 3600.0
_REGISTER_SECONDS: Final = 3600.0
_DECIDED: Final = ("reject", "inconclusive")
_NO: Final = ("Rejected", "Inconclusive")


# A remote that does not answer may answer in a minute.
@task(
    task_run_name="{direction}",
    retries=2,
    retry_delay_seconds=[5, 60],
    retry_condition_fn=is_retryable,
    cache_policy=NO_CACHE,
    persist_result=False,
)
def transfer_task(root: str, direction: str) -> None:
    """Pull from or push to DVC's remote, the run cache included.

    Files that the remote lacks, after an interrupted push, are warnings in the log; their stages
    run again.
    """
    options = ["--run-cache", "--allow-missing"] if direction == "pull" else ["--run-cache"]
    run_dvc(
        Workspace.open(root),
        direction,
        *options,
        on_line=get_run_logger().info,
        timeout=_TRANSFER_SECONDS,
    )


# A retry is safe, because registering the same bundle twice gives the same version.
@task(
    task_run_name="register",
    retries=2,
    retry_delay_seconds=[5, 60],
    cache_policy=NO_CACHE,
    persist_result=False,
)
def register_task(root: str) -> None:
    """Register the bundle of a worktree as the challenger, if it is not the champion."""
    run_module(
        Workspace.open(root),
        "tasks.registry",
        on_line=get_run_logger().info,
        timeout=_REGISTER_SECONDS,
    )


@flow(name="retrain", persist_result=False)
def retrain(
    root: str = ".",
    ref: str = "HEAD",
    git_remote: str | None = None,
    until: Until = "promotion",
    timeout_hours: float = 24,
) -> State:
    """Rebuild one commit in a worktree, propose the result on a branch, and promote it.

    Args:
        root: Root of the checkout whose git repository and DVC cache are used.
        ref: The commit to build; `origin/main` with `git_remote` "origin" is the newest. If empty,
            HEAD: an unset variable of infra/prefect.yaml arrives as an empty string.
        git_remote: Git remote to fetch from first and to push the branch to. If None or empty, the
            branch stays in the repository.
        until: Last step. After "registration" a person runs `flows.promote`.
        timeout_hours: Longest time a stage may take.

    Returns:
        A state whose message names the branch and says why: "Promoted", "Rejected",
        "Inconclusive", or "Unchanged" if there was nothing to decide. "Proposed" and "Registered"
        are new results of a run that ends there. "Cancelled" if the run was cancelled, with
        checkpoints written.

    Raises:
        InputError: `root` is not a checkout, has no commit `ref`, or another run works in it; or
            Prefect's server has another version.
        StageError: A stage failed, or a remote does not answer.

    """
    repository = Workspace.open(root)
    git_remote = git_remote or None
    check_server()
    run = _current_run()
    if run.run_count > MAX_RERUNS + 1:
        return Failed(message=f"crashed {run.run_count - 1} times; see the logs, then run it again")
    _check_device()
    with only_retrain(repository) as lock, ProcessGroup([lock]) as group:
        commit = resolve_commit(repository, ref or "HEAD", git_remote)
        # A person may have given the run any name.
        name = f"{re.sub(r'[^A-Za-z0-9]+', '-', run.name)}-{str(run.id)[:8]}"
        with (
            stop_when_cancelled(run, group) as watch,
            worktree(repository, name, commit) as workspace,
        ):
            try:
                return _retrain(workspace, name, git_remote, until, timeout_hours)
            except StageError:
                if not watch.cancelled and not watch.replaced:
                    raise
    if watch.replaced:
        # No state must be reported from here: it would be taken for that of the other process.
        sys.stderr.write("retrain: the run was declared crashed, and goes on elsewhere\n")
        os._exit(0)
    return Cancelled(message="cancelled; checkpoints are written")


def _current_run() -> FlowRun:
    # From the server, because the copy in Prefect's context does not count this run yet.
    with get_client(sync_client=True) as client:
        return client.read_flow_run(UUID(runtime.flow_run.get_id()))


def _check_device() -> None:
    """Check that this machine has the device that its work pool asks for."""
    wanted = os.environ.get("MAMBATALK_DEVICE", "")
    if not wanted.startswith("cuda"):
        return
    import torch

    if not torch.cuda.is_available():
        raise InputError(
            "MAMBATALK_DEVICE",
            f"expected a machine with a GPU for {wanted!r}, found none",
            "start the workers of this pool on machines with a GPU, or install CUDA's driver",
        )


def _retrain(
    workspace: Workspace, name: str, git_remote: str | None, until: Until, timeout_hours: float
) -> State:
    root = str(workspace.root)
    has_remote = has_dvc_remote(workspace)
    before = start_from_last_results(workspace)
    if has_remote:
        transfer_task(root, "pull")
    outcomes = build_workspace(workspace, "stage", None, timeout_hours, pull=has_remote)
    # Before the branch: a `dvc.lock` whose data nobody can pull would be of no use.
    if has_remote:
        transfer_task(root, "push")
    branch, is_new = propose(workspace, name, before, git_remote)
    ran = [stage for stage, outcome in outcomes.items() if outcome == "Ran"]
    result = f"branch {branch}" if is_new else f"same results as {branch}"
    message = f"{result}; {len(ran)} of {len(outcomes)} stages ran"
    if until == "proposal":
        return Completed(name="Proposed" if is_new else "Unchanged", message=message)
    register_task(root)
    if until == "registration":
        return Completed(name="Registered" if is_new else "Unchanged", message=message)
    return _decide(workspace, message)


def _decide(workspace: Workspace, message: str) -> State:
    """Let the gate decide about the challenger, unless it has done so."""
    client = open_registry()
    with registry_errors():
        challenger = read_aliases(client).challenger
        tags = read_version(client, challenger).tags if challenger else {}
    if tags.get(VERDICT_TAG) in _DECIDED:
        decided = f"the gate has decided about version {challenger} before: {tags[VERDICT_TAG]}"
        return Completed(name="Unchanged", message=f"{message}; {decided}")
    state: State[Any] = promote(str(workspace.root), return_state=True)
    outcome = state.result()
    name = STATES[outcome["verdict"]]
    return Completed(name=name, message=f"{message}; {outcome['reason']}")


def main(
    root: Annotated[str, typer.Option(help="Root of the checkout.")] = ".",
    ref: Annotated[str, typer.Option(help="Branch, tag or commit to build.")] = "HEAD",
    git_remote: Annotated[
        str | None, typer.Option(help="Git remote to fetch from, and to push the branch to.")
    ] = None,
    until: Annotated[
        Until, typer.Option(case_sensitive=False, help="Last step of the run.")
    ] = "promotion",
    timeout_hours: Annotated[float, typer.Option(help="Longest time a stage may take.")] = 24,
) -> None:
    """Rebuild in a worktree, propose the result on the branch retrain/RUN, and promote it."""
    with errors_in_one_line("retrain"):
        Workspace.open(root)
        check_server()
        run_supervised()
        # Only now: `run_supervised` forks, and CUDA does not work in a fork of a process that has
        # already used it.
        _check_device()
        try:
            state: State[Any] = retrain(
                root, ref, git_remote, until, timeout_hours, return_state=True
            )
            # Raises the error of a run that failed.
            state.result()
        except CancelledRun:
            sys.stderr.write("retrain: cancelled; the next run continues from its checkpoints\n")
            sys.exit(1)
        sys.stdout.write(f"retrain: {(state.name or '').lower()}: {state.message}\n")
        sys.exit(1 if state.name in _NO else 0)


if __name__ == "__main__":
    typer.run(main)
