"""Build the pipeline stage by stage: `python -m flows.build`.

DVC decides whether a stage runs, Prefect when and where. Each stage is a task run with its own
retries, timeout and log, and its state is named "Ran", "Restored" (from DVC's run cache) or
"Up to date". Stages of a matrix run in parallel if each has a GPU, one after the other otherwise.
With no server configured, Prefect starts a temporary one for the length of the run.
"""

from typing import Annotated, Any, Final, Literal

import typer
from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.commands import ProcessGroup
from flows.errors import errors_in_one_line
from flows.gpu import reserve_place
from flows.stages import (
    RETRYABLE_KINDS,
    Graph,
    StageError,
    changed_stages,
    read_graph,
    run_stage,
    run_whole,
)
from flows.summary import build_summary
from flows.supervise import run_supervised
from flows.workspace import Workspace

Mode = Literal["stage", "whole"]
_SECONDS_PER_HOUR: Final = 3600.0


def is_retryable(task: Any, run: Any, state: State) -> bool:
    """Return whether a failed stage may succeed if it runs again, unlike one with bad input."""
    return isinstance(state.data, StageError) and state.data.kind in RETRYABLE_KINDS


@task(
    task_run_name="{stage}",
    retries=2,
    retry_delay_seconds=[2, 20],
    retry_condition_fn=is_retryable,
    cache_policy=NO_CACHE,
    persist_result=False,
)
def stage_task(
    root: str, stage: str, stale: bool, timeout_hours: float, pull: bool = False
) -> State:
    """Run one stage if it may be stale; the state's name is its outcome."""
    if not stale:
        return Completed(name="Up to date", message=f"{stage}: nothing it depends on has changed")
    workspace = Workspace.open(root)
    with reserve_place(workspace) as place:
        outcome = run_stage(
            workspace,
            stage,
            on_line=get_run_logger().info,
            timeout=timeout_hours * _SECONDS_PER_HOUR,
            place=place,
            pull=pull,
        )
    return Completed(name=outcome, message=f"{stage}: {outcome.lower()}")


@task(task_run_name="dvc repro", cache_policy=NO_CACHE, persist_result=False)
def whole_task(root: str, targets: list[str], timeout_hours: float) -> None:
    """Run one `dvc repro` for all stages, which is faster and shows fewer details."""
    workspace = Workspace.open(root)
    with reserve_place(workspace) as place:
        run_whole(
            workspace,
            targets,
            on_line=get_run_logger().info,
            timeout=timeout_hours * _SECONDS_PER_HOUR,
            place=place,
        )


# Places limit what runs in parallel. Prefect's default task runner gives every stage a thread, in
# which it waits for the stages it depends on and then for a place.
@flow(name="build", flow_run_name="build {mode}", persist_result=False)
def build(
    root: str = ".",
    mode: Mode = "stage",
    targets: list[str] | None = None,
    timeout_hours: float = 24,
) -> dict[str, str]:
    """Bring stages up to date.

    Args:
        root: Root of the checkout.
        mode: A task run for each stage, or one for a whole `dvc repro`.
        targets: Stages to build together with those they depend on. If None, all stages.
        timeout_hours: Longest time a stage, or the whole `dvc repro`, may take.

    Returns:
        Outcome of each stage: "Ran", "Restored", "Up to date", or "Built" for mode "whole".

    Raises:
        StageError: A stage failed, or is still stale after the run.

    """
    workspace = Workspace.open(root)
    with ProcessGroup():
        return build_workspace(workspace, mode, targets, timeout_hours)


def build_workspace(
    workspace: Workspace,
    mode: Mode,
    targets: list[str] | None,
    timeout_hours: float,
    *,
    pull: bool = False,
) -> dict[str, str]:
    """Bring stages of a checkout up to date within a flow.

    Arguments and errors are those of `build`. With `pull`, outputs of earlier runs may come from
    DVC's remote, stage by stage.
    """
    graph = read_graph(workspace)
    names = graph.with_ancestors(targets or [])
    if mode == "whole":
        whole_task(str(workspace.root), targets or [], timeout_hours)
        outcomes = dict.fromkeys(names, "Built")
    else:
        try:
            outcomes = _build_stages(workspace, graph, names, timeout_hours, pull)
        except StageError as error:
            if error.kind != "damaged":
                raise
            get_run_logger().warning("%s; building it again", error)
            outcomes = _build_stages(workspace, graph, names, timeout_hours, pull)
    still_stale = graph.with_descendants(changed_stages(workspace)) & set(names)
    if still_stale:
        message = f"still stale after the run: {', '.join(sorted(still_stale))}"
        raise StageError("build", "unexpected", message)
    create_markdown_artifact(
        build_summary(workspace, outcomes),
        key="build-summary",
        description="Stages that were built, and the metrics",
    )
    return outcomes


def _build_stages(
    workspace: Workspace, graph: Graph, names: list[str], timeout_hours: float, pull: bool
) -> dict[str, str]:
    stale = graph.with_descendants(changed_stages(workspace))
    futures: dict[str, Any] = {}
    for name in names:
        futures[name] = stage_task.submit(
            str(workspace.root),
            name,
            name in stale,
            timeout_hours,
            pull,
            return_state=False,
            wait_for=[futures[parent] for parent in graph.parents[name]],
        )
    for future in futures.values():
        future.wait()
    # Raises the first failure, after every stage that could run has run.
    for future in futures.values():
        future.result()
    return {name: future.state.name for name, future in futures.items()}


def main(
    root: Annotated[str, typer.Option(help="Root of the checkout.")] = ".",
    mode: Annotated[
        Mode,
        typer.Option(
            case_sensitive=False,
            help="A task run for each stage, or one for the whole `dvc repro`.",
        ),
    ] = "stage",
    target: Annotated[
        list[str] | None,
        typer.Option(help="Stage to build with those it depends on; may be repeated."),
    ] = None,
    timeout_hours: Annotated[float, typer.Option(help="Longest time a stage may take.")] = 24,
) -> None:
    """Build the pipeline with Prefect; with no server configured it starts a temporary one.

    `PREFECT_API_URL=http://127.0.0.1:4200/api python -m flows.build` shows the run and its stages
    on a server.
    """
    with errors_in_one_line("build"):
        # Before a server starts: a graph that cannot be read is one line, not the log of a flow.
        read_graph(Workspace.open(root))
        run_supervised()
        build(root=root, mode=mode, targets=target, timeout_hours=timeout_hours)


if __name__ == "__main__":
    typer.run(main)
