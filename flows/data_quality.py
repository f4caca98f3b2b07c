"""Report on the quality of the corpus, once or on a schedule: `python -m flows.data_quality`.

`--every HOURS` or `--cron "0 6 * * *"` sets a schedule. If the corpus or a rule differs from the
last report, or with `--force`, the clips are ingested into a temporary store and checked. The page
`runs/data_quality/last/index.html` shows the results, and the drift from the previous report. The
flow does not change the pipeline's data. DVC trains again when a new snapshot is committed; read
this page before that.

The flow run's state, and the last line printed, is clean, warn or fail. Exit code 0: clean or warn.
1: fail, a critical rule is broken and the stage check_clips would stop. 2: bad input.
"""

import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import (
    ConcurrencyLimitConfig,
    ConcurrencyLimitStrategy,
    State,
)
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
from prefect.exceptions import FailedRun
from prefect.settings import get_current_settings
from prefect.states import Completed, Failed

from flows.commands import ProcessGroup
from flows.stages import StageError, run_module
from flows.summary import quality_summary
from flows.supervise import run_supervised
from flows.workspace import Workspace
from mambatalk.config import load_config
from mambatalk.corpus.layout import check_root
from mambatalk.errors import InputError
from mambatalk.files import read_json

TOOL: Final = "tasks.tools.data_quality"
_TIMEOUT_SECONDS: Final = 24 * 3600.0


@task(task_run_name="snapshot", cache_policy=NO_CACHE, persist_result=False)
def snapshot_task(root: str) -> str:
    """Take a snapshot of the corpus, and return the fingerprint of a report on it."""
    workspace = Workspace.open(root)
    _run_tool(workspace, "snapshot")
    return read_json(workspace.paths.run_folder("data_quality") / "current.json")["fingerprint"]


@task(task_run_name="report", cache_policy=NO_CACHE, persist_result=False)
def report_task(root: str) -> None:
    """Ingest and check the corpus, and replace the last report."""
    _run_tool(Workspace.open(root), "report")


def _run_tool(workspace: Workspace, step: str) -> None:
    # In a process of its own, as stages are: pandas and Great Expectations stay out of this one.
    run_module(workspace, TOOL, step, on_line=get_run_logger().info, timeout=_TIMEOUT_SECONDS)


@flow(name="data-quality", persist_result=False)
def data_quality(root: str = ".", force: bool = False) -> State:
    """Refresh the report on the corpus of `params.yaml` if it is out of date.

    Args:
        root: Root of the checkout.
        force: Refresh the report even if nothing has changed.

    Returns:
        A state named "Clean", "Warn" or "Fail"; "Fail" is a failed state.

    Raises:
        StageError: The corpus cannot be read.

    """
    workspace = Workspace.open(root)
    folder = workspace.paths.run_folder("data_quality") / "last"
    with ProcessGroup():
        fingerprint = snapshot_task(str(workspace.root))
        summary = _read_summary(folder)
        refreshed = force or summary is None or summary["fingerprint"] != fingerprint
        if refreshed:
            report_task(str(workspace.root))
    summary = read_json(folder / "summary.json")
    text = quality_summary(summary, refreshed=refreshed)
    page = folder / "index.html"
    create_markdown_artifact(
        f"{text}\n\nPage: `{page}`", key="data-quality", description="The quality of the corpus"
    )
    state = Failed if summary["status"] == "fail" else Completed
    return state(
        name=summary["status"].capitalize(),
        message=f"{summary['status']}: {text.splitlines()[0]} {page}",
    )


def _read_summary(folder: Path) -> dict[str, Any] | None:
    path = folder / "summary.json"
    return read_json(path) if path.is_file() else None


def main(
    root: Annotated[str, typer.Option(help="Root of the checkout.")] = ".",
    force: Annotated[
        bool, typer.Option(help="Refresh the report even if nothing has changed.")
    ] = False,
    every: Annotated[
        float | None, typer.Option(min=0.001, help="Hours between reports; needs a server.")
    ] = None,
    cron: Annotated[
        str | None, typer.Option(help="Schedule in cron's format; needs a server.")
    ] = None,
) -> None:
    """Report on the corpus: once, with a temporary server, or on a schedule that a server keeps."""
    try:
        workspace = Workspace.open(root)
        config = load_config(workspace.paths.params)
        check_root(workspace.paths.resolve(config.ingest.root))
        if every is None and cron is None:
            _run_once(workspace, force)
        else:
            _serve(workspace, force, every, cron)
    except (InputError, StageError) as error:
        problem = error.message if isinstance(error, StageError) else error
        sys.stderr.write(f"data quality: {problem}\n")
        sys.exit(2)


def _run_once(workspace: Workspace, force: bool) -> None:
    run_supervised()
    state = data_quality(str(workspace.root), force, return_state=True)
    sys.stdout.write(f"data quality: {state.message}\n")
    try:
        state.result()
    except FailedRun:
        sys.exit(1)


def _serve(workspace: Workspace, force: bool, every: float | None, cron: str | None) -> None:
    if not get_current_settings().api.url:
        raise InputError(
            "--every, --cron",
            "expected a server that keeps the schedule, found no PREFECT_API_URL",
            "run `prefect server start`, then this command with "
            "PREFECT_API_URL=http://127.0.0.1:4200/api",
        )
    if every is not None and cron is not None:
        raise InputError("--every, --cron", "expected one schedule, found two", "remove one")
    try:
        schedule = (
            CronSchedule(cron=cron)
            if cron
            else IntervalSchedule(interval=timedelta(hours=every or 0))
        )
    except ValueError as error:
        raise InputError(
            "--cron",
            f"expected five fields of cron's format, found {cron!r}",
            "write it like '0 6 * * *'",
        ) from error
    # A run that takes longer than the interval must not leave a queue of others behind it.
    one_at_a_time = ConcurrencyLimitConfig(
        limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW
    )
    data_quality.serve(
        name="data-quality",
        schedules=[schedule],
        parameters={"root": str(workspace.root), "force": force},
        global_limit=one_at_a_time,
        print_starting_message=False,
    )


if __name__ == "__main__":
    typer.run(main)
