"""What Prefect says about the flows: what ran, what runs where, what is next, what waits."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import get_current_settings

from tasks.tracking.sender import one_line, without_password

LAST_RUNS: Final = 10
NEXT_RUNS: Final = 5
_OVER: Final = (StateType.COMPLETED, StateType.FAILED, StateType.CRASHED, StateType.CANCELLED)
_LIVE: Final = (StateType.RUNNING, StateType.PAUSED, StateType.PENDING, StateType.CANCELLING)
_BAD: Final = (StateType.FAILED, StateType.CRASHED)


@dataclass(frozen=True, kw_only=True)
class FlowState:
    """One flow run."""

    flow: str
    run: str
    state: str
    """Name of the state; flows may call a failed state by another name."""
    is_bad: bool
    """Whether it failed or crashed."""
    when: str
    """Start, or the time it is scheduled for; ISO 8601, UTC."""
    seconds: float
    """Time it ran."""
    where: str
    """Work pool, queue and process, as far as known."""
    message: str


@dataclass(frozen=True, kw_only=True)
class PrefectState:
    """The flows on one Prefect server."""

    server: str
    """Address, or why nothing is known."""
    answers: bool
    last: list[FlowState] = field(default_factory=list)
    running: list[FlowState] = field(default_factory=list)
    upcoming: list[FlowState] = field(default_factory=list)
    needs: list[str] = field(default_factory=list)


def read_prefect() -> PrefectState:
    """Read the flow runs of the configured server; a server that does not answer is a need."""
    address = get_current_settings().api.url
    if not address:
        return PrefectState(
            server="no server: PREFECT_API_URL is not set, so that schedules are unknown",
            answers=False,
        )
    server = without_password(address)
    try:
        with get_client(sync_client=True) as client:
            return _read(client, server)
    except (httpx.HTTPError, PrefectHTTPStatusError) as error:
        problem = f"Prefect's server {server} does not answer ({one_line(error)}): start it."
        return PrefectState(server=f"{server}, no answer", answers=False, needs=[problem])


def _read(client: SyncPrefectClient, server: str) -> PrefectState:
    names: dict[Any, str] = {}

    def states(types: Sequence[StateType], sort: FlowRunSort, limit: int) -> list[FlowState]:
        kept = FlowRunFilter.model_validate({"state": {"type": {"any_": list(types)}}})
        runs = client.read_flow_runs(flow_run_filter=kept, sort=sort, limit=limit)
        return [_flow_state(client, names, run) for run in runs]

    last = states(_OVER, FlowRunSort.START_TIME_DESC, LAST_RUNS)
    running = states(_LIVE, FlowRunSort.START_TIME_DESC, LAST_RUNS)
    upcoming = states([StateType.SCHEDULED], FlowRunSort.EXPECTED_START_TIME_ASC, NEXT_RUNS)
    return PrefectState(
        server=server,
        answers=True,
        last=last,
        running=running,
        upcoming=upcoming,
        needs=[*_paused(running), *_failed(last), *_late(upcoming)],
    )


def _flow_state(client: SyncPrefectClient, names: dict[Any, str], run: FlowRun) -> FlowState:
    if run.flow_id not in names:
        names[run.flow_id] = client.read_flow(run.flow_id).name
    moment = run.start_time or run.expected_start_time
    place = (run.work_pool_name, run.work_queue_name, run.infrastructure_pid)
    return FlowState(
        flow=names[run.flow_id],
        run=run.name,
        state=run.state_name or "unknown",
        is_bad=run.state_type in _BAD,
        when=moment.astimezone(UTC).isoformat(timespec="seconds") if moment else "",
        seconds=run.total_run_time.total_seconds(),
        where=", ".join(str(part) for part in place if part),
        message=one_line(Exception((run.state.message if run.state else None) or "")),
    )


def _paused(running: Sequence[FlowState]) -> list[str]:
    return [
        f"Flow run {one.run} ({one.flow}) waits for a person: look at its page, then resume it."
        for one in running
        if one.state == "Paused"
    ]


def _failed(last: Sequence[FlowState]) -> list[str]:
    """Return the flows whose newest run failed."""
    newest: dict[str, FlowState] = {}
    for one in last:
        newest.setdefault(one.flow, one)
    return [
        f"The last run of {one.flow} ({one.run}) is {one.state.lower()}: {one.message}"
        for one in newest.values()
        if one.is_bad
    ]


def _late(upcoming: Sequence[FlowState]) -> list[str]:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return [
        f"Flow run {one.run} ({one.flow}) has been late since {one.when}: start a worker of its"
        " pool."
        for one in upcoming
        if one.state == "Late" and one.when < now
    ]
