"""Build everything, stage by stage: `python -m flows.build`.

DVC decides whether a stage runs, Prefect when and where. Each stage is a task run with its own
retries, timeout, log and a state that says whether it ran or was up to date. Siblings of a matrix
run side by side where there is a GPU for each, one after the other on a machine without. Works with
no server configured, and against one.
"""

import signal
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed, State
from prefect.task_runners import ThreadPoolTaskRunner

from flows.dvc import (
    RETRIED,
    Children,
    Graph,
    StageError,
    changed_stages,
    read_graph,
    run_dvc,
    run_stage,
)
from flows.slots import Slots
from flows.summary import summary
from flows.supervise import go_on_supervised

Mode = Literal["stage", "whole"]
HOURS = 3600.0


def worth_retrying(task: Any, run: Any, state: State) -> bool:
    """Whether a failure may pass by itself; a bad configuration never does."""
    return isinstance(state.data, StageError) and state.data.kind in RETRIED


@task(
    task_run_name="{stage}",
    retries=2,
    retry_delay_seconds=[2, 20],
    retry_condition_fn=worth_retrying,
    cache_policy=NO_CACHE,
    persist_result=False,
)
def stage_task(
    stage: str, root: str, stale: bool, slots: Slots, children: Children, timeout: float
) -> State:
    """Run one stage if it may be stale; the state's name says what came of it."""
    if not stale:
        return Completed(name="Up to date", message=f"{stage}: nothing it reads has changed")
    with slots.one() as variables:
        name = run_stage(
            Path(root),
            stage,
            on_line=get_run_logger().info,
            timeout=timeout,
            variables=variables,
            children=children,
        )
    return Completed(name=name, message=f"{stage}: {name.lower()}")


@flow(name="build", flow_run_name="build {mode}", persist_result=False)
def build(
    root: str = ".",
    mode: Mode = "stage",
    targets: list[str] | None = None,
    timeout: float = 24 * HOURS,
) -> dict[str, str]:
    """Bring `targets`, or everything, up to date and return what became of each stage."""
    folder = Path(root).resolve()
    graph = read_graph(folder)
    if mode == "whole":
        states = whole_task(str(folder), targets or [], timeout)
    else:
        states = _by_stage(folder, graph, graph.with_ancestors(targets or []), timeout)
    left = graph.downstream(changed_stages(folder)) & set(states)
    if left:
        raise StageError(
            "build", "unexpected", f"still stale after the run: {', '.join(sorted(left))}"
        )
    create_markdown_artifact(
        summary(folder, states), key="build-summary", description="What was built, and how good"
    )
    return states


def _by_stage(root: Path, graph: Graph, names: list[str], timeout: float) -> dict[str, str]:
    stale = graph.downstream(changed_stages(root))
    slots, children = Slots(), Children()
    runs: dict[str, Any] = {}
    try:
        for name in names:
            runs[name] = stage_task.submit(
                name,
                str(root),
                name in stale,
                slots,
                children,
                timeout,
                return_state=False,
                wait_for=[runs[parent] for parent in graph.parents[name]],
            )
        for run in runs.values():
            run.wait()
    except BaseException:  # A signal. Prefect waits for its threads, and they for their stages.
        children.stop()
        raise
    for run in runs.values():
        run.result()
    return {name: run.state.name for name, run in runs.items()}


@task(task_run_name="dvc repro", cache_policy=NO_CACHE, persist_result=False)
def whole_task(root: str, targets: list[str], timeout: float) -> dict[str, str]:
    """One `dvc repro` for all: less to see, less to wait for."""
    logger = get_run_logger()
    code = run_dvc(
        Path(root),
        ["repro", *targets],
        on_line=logger.info,
        timeout=timeout,
        variables={},
        children=Children(),
    )
    if code:
        raise StageError("dvc repro", "unexpected", f"exit code {code}; the log above says why")
    return dict.fromkeys(read_graph(Path(root)).with_ancestors(targets), "Built")


def main(
    mode: Annotated[
        Mode, typer.Option(help="A task run for each stage, or one for the whole `dvc repro`.")
    ] = "stage",
    target: Annotated[
        list[str] | None, typer.Option(help="Stage to build with all it needs; may be repeated.")
    ] = None,
    timeout_hours: Annotated[float, typer.Option(help="Longest a stage may take.")] = 24,
) -> None:
    """Build the pipeline with Prefect: with no server configured it starts its own for the time of
    the run.

    `PREFECT_API_URL=http://127.0.0.1:4200/api python -m flows.build` shows the run and its stages
    on a server.
    """
    go_on_supervised()
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(143)
    )  # So that Prefect's temporary server is told to end.
    runner: Any = ThreadPoolTaskRunner(max_workers=Slots().count)
    try:
        build.with_options(task_runner=runner)(
            mode=mode, targets=target, timeout=timeout_hours * HOURS
        )
    except StageError as error:
        sys.stderr.write(f"build: {error}\n")
        sys.exit(2 if error.kind == "config" else 1)


if __name__ == "__main__":
    typer.run(main)
