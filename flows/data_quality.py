"""Look at the corpus, once or on a schedule: `python -m flows.data_quality [--every HOURS | --cron
"0 6 * * *"]`.

A snapshot tells whether the corpus, or a rule, is another than at the last look. If so, or with
`--force`, the clips are ingested into a scratch folder and checked; the page
`runs/data_quality/last/index.html` shows what they are, and how far they have drifted from the last
look's. Nothing of the pipeline is touched: DVC retrains when somebody commits a new snapshot, and
this is what to read before doing so.

The state of the flow run says clean, warn or fail, and so does the last line. Exit code 0: clean or
warn. 1: fail, a critical rule is broken and the stage check_clips would stop. 2: bad input.
"""

import sys
from datetime import timedelta
from typing import Annotated, Any

import typer
from prefect import flow, task
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

from flows.summary import quality_summary
from flows.supervise import run_supervised
from mambatalk.config import load_config
from mambatalk.corpus.layout import check_root
from mambatalk.errors import InputError
from tasks.runtime.paths import Paths
from tasks.tools.data_quality import (
    fingerprint,
    read_last_summary,
    refresh_report,
    report_folder,
    take_snapshot,
)


@task(task_run_name="snapshot", cache_policy=NO_CACHE, persist_result=False)
def snapshot_task() -> dict[str, Any]:
    """What the corpus is now."""
    paths = Paths()
    return take_snapshot(load_config(paths.params), paths)


@task(task_run_name="look", cache_policy=NO_CACHE, persist_result=False)
def look_task(found: dict[str, Any]) -> dict[str, Any]:
    """Ingest, check, draw."""
    paths = Paths()
    return refresh_report(load_config(paths.params), found, paths)


@flow(name="data-quality", persist_result=False)
def data_quality(force: bool = False) -> State:
    """Look at the corpus of `params.yaml` unless it is as it was; the state's name says what came
    of it.
    """
    paths = Paths()
    found = snapshot_task()
    last = read_last_summary(paths)
    current = fingerprint(load_config(paths.params), found)
    unchanged = last is not None and last["fingerprint"] == current
    result = last if last is not None and unchanged and not force else look_task(found)
    text = quality_summary(result, looked=result is not last)
    page = report_folder(paths).resolve() / "index.html"
    create_markdown_artifact(
        f"{text}\n\nPage: `{page}`", key="data-quality", description="What the corpus is"
    )
    state = Failed if result["status"] == "fail" else Completed
    return state(
        name=result["status"].capitalize(),
        message=f"{result['status']}: {text.splitlines()[0]} {page}",
    )


def main(
    force: Annotated[bool, typer.Option(help="Look even where nothing has changed.")] = False,
    every: Annotated[
        float | None, typer.Option(min=0.001, help="Hours from look to look; needs a server.")
    ] = None,
    cron: Annotated[
        str | None, typer.Option(help="When to look, as cron has it; needs a server.")
    ] = None,
) -> None:
    """Look at the corpus with Prefect: once, with a server of its own, or on a schedule that a
    server keeps.
    """
    try:
        check_root(load_config(Paths().params).ingest.root)
        if every is None and cron is None:
            _once(force)
        else:
            _serve(force, every, cron)
    except InputError as error:
        sys.stderr.write(f"data quality: {error}\n")
        sys.exit(2)


def _once(force: bool) -> None:
    run_supervised()
    state = data_quality(force, return_state=True)
    sys.stdout.write(f"data quality: {state.message}\n")
    try:
        state.result()
    except FailedRun:
        sys.exit(1)


def _serve(force: bool, every: float | None, cron: str | None) -> None:
    if not get_current_settings().api.url:
        raise InputError(
            "--every, --cron",
            "expected a server: the temporary one of a single look keeps no schedule,"
            " found no PREFECT_API_URL",
            "prefect server start, then PREFECT_API_URL=http://127.0.0.1:4200/api with this command",
        )
    if every is not None and cron is not None:
        raise InputError("--every, --cron", "expected one schedule, found both", "leave one out")
    try:
        schedule = (
            CronSchedule(cron=cron)
            if cron
            else IntervalSchedule(interval=timedelta(hours=every or 0))
        )
    except ValueError as error:
        raise InputError(
            "--cron",
            f"expected five fields as cron has them, such as '0 6 * * *', found {cron}",
            "correct it",
        ) from error
    # A look that takes longer than the interval is not followed by a queue of others.
    alone = ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW)
    data_quality.serve(
        name="data-quality",
        schedules=[schedule],
        parameters={"force": force},
        global_limit=alone,
        print_starting_message=False,
    )


if __name__ == "__main__":
    typer.run(main)
