"""Bad nights of a scheduled retraining: killed workers and runs, cancellation, two at once.

The cases run at the same time against one set of servers, each with a project, a deployment and a
worker of its own, because recovery from a silent crash takes minutes. What concerns the servers
themselves comes after them.
"""

import contextvars
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.operations.servers import Servers
from tests.operations.workers import (
    ENQUEUE,
    MARK,
    ROOT,
    Api,
    Case,
    kill,
    processes_with,
    running_case,
    wait_until,
)

pytestmark = [
    pytest.mark.operations,
    pytest.mark.xdist_group("servers"),
    pytest.mark.timeout(1500),
]

LONG = 400
"""Steps of a training that takes 40 s if nothing else runs."""


@pytest.fixture(scope="module")
def api(servers: Servers) -> Api:
    """A server with the pools, automations and deployments of `infra/`."""
    environment = {**os.environ, **servers.environment, "MAMBATALK_CHECKOUT": str(ROOT)}
    deploy = ["prefect", "--no-prompt", "deploy", "--all", "--prefect-file", "infra/prefect.yaml"]
    for command in (["infra.bootstrap", "--device", "cpu"], deploy):
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return Api(servers.environment)


def worker_killed(case: Case) -> None:
    """The run goes on without its worker, and no other run starts beside it."""
    run = case.api.start(case.deployment)
    training = case.wait_for_training()
    kill(case._workers[0])
    case.start_worker()
    found = case.api.wait(run, "Proposed", "Crashed", "Failed")
    assert found["state_name"] == "Proposed", case.log()
    assert case.project.log() == [f"start {training} at 0", f"end {training} at {LONG}"]


def both_killed(case: Case) -> None:
    """Nobody reports the crash: the missing heartbeats do, and another worker continues."""
    run = case.api.start(case.deployment)
    case.wait_for_training()
    kill(case._workers[0], case.engine(run))
    case.start_worker()
    check_resumed(case, run)


def lost_in_pending(case: Case) -> None:
    """A worker's machine that dies before the run begins leaves it to another worker."""
    run = case.api.start(case.deployment)
    case.api.wait(run, "Pending")
    kill(*processes_with(MARK, case.name))
    case.start_worker()
    found = case.api.wait(run, "Proposed", "Failed", "Cancelled", seconds=900)
    assert found["state_name"] == "Proposed", case.log()
    assert len([line for line in case.project.log() if line.startswith("start")]) == 1


def bad_corpus(case: Case) -> None:
    """The checks stop the run before any training, proposal or registration."""
    run = case.api.start(case.deployment)
    found = case.api.wait(run, "Failed", "Promoted", "Proposed", "Crashed")
    assert found["state_name"] == "Failed", case.log()
    assert "1 clip is broken" in found["state"]["message"]
    assert case.project.log() == []
    assert case.project.branches() == []


def check_resumed(case: Case, run: str) -> None:
    found = case.api.wait(run, "Proposed", "Failed", "Cancelled")
    assert found["state_name"] == "Proposed", case.log()
    assert found["run_count"] == 2
    assert "Crashed" in case.api.state_names(run)
    first, stopped, second, finished = case.project.log()
    done = int(stopped.split()[-1])
    # SIGTERM reached the training of the killed run, which wrote a checkpoint for the next one.
    assert 10 <= done < LONG
    assert (first.split()[-1], second.split()[-1]) == ("0", str(done))
    assert finished.endswith(f"at {LONG}")


def cancelled(case: Case) -> None:
    """A cancelled run stops, also if its training ignores SIGTERM."""
    run = case.api.start(case.deployment)
    training = case.wait_for_training()
    case.api.cancel(run)
    case.api.wait(run, "Cancelled")
    wait_until(lambda: training not in pids(case), "the training to end", 60)
    assert case.project.branches() == []


def pids(case: Case) -> set[int]:
    return {process.pid for process in processes_with("OPERATIONS_CASE", case.name)}


def two_at_once(case: Case) -> None:
    """The second run waits for the first, and finds that nothing has changed."""
    runs = [case.api.start(case.deployment) for _ in range(2)]
    case.start_worker()
    names = [case.api.wait(run, "Proposed", "Unchanged", "Failed")["state_name"] for run in runs]
    assert sorted(names) == ["Proposed", "Unchanged"]
    assert len([line for line in case.project.log() if line.startswith("start")]) == 1


def schedule_fires(case: Case) -> None:
    """A run starts by the clock."""
    schedule = {"schedule": {"cron": "* * * * *", "timezone": "UTC"}, "active": True}
    case.api.request("POST", f"/deployments/{case.deployment}/schedules", [schedule])
    wait_until(
        lambda: any(run["state_name"] == "Proposed" for run in case.api.runs(case.deployment)),
        "a scheduled run to end",
    )
    for run in case.api.runs(case.deployment):
        assert run["auto_scheduled"]
    case.api.request("PATCH", f"/deployments/{case.deployment}", {"paused": True})
    # What runs already ends.
    wait_until(
        lambda: (
            not any(
                run["state_type"] in ("PENDING", "RUNNING")
                for run in case.api.runs(case.deployment)
            )
        ),
        "the runs to end",
    )


CASES: dict[str, tuple[Callable[[Case], None], dict[str, int | bool | str]]] = {
    "worker-killed": (worker_killed, {"steps": LONG}),
    "both-killed": (both_killed, {"steps": LONG}),
    "lost-in-pending": (lost_in_pending, {"steps": 5}),
    "bad-corpus": (bad_corpus, {"word": "bad", "until": "promotion"}),
    "cancelled": (cancelled, {"steps": 6000, "obeys": False}),
    "two-at-once": (two_at_once, {"steps": 50, "limit": 1}),
    "schedule-fires": (schedule_fires, {"steps": 5}),
}


@pytest.fixture(scope="module")
def outcomes(
    api: Api, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, "Future[None]"]]:
    """All cases that were selected, started at the same time."""
    folder = tmp_path_factory.mktemp("cases")
    chosen = {item.name for item in request.session.items}
    names = [name for name in CASES if f"{test_a_bad_night.__name__}[{name}]" in chosen]

    def play(name: str) -> None:
        act, values = CASES[name]
        with running_case(api, name, folder / name, **values) as case:  # type: ignore[arg-type]
            act(case)
            case.check_nothing_left()

    with ThreadPoolExecutor(len(CASES)) as pool:
        yield {name: pool.submit(contextvars.copy_context().run, play, name) for name in names}


@pytest.mark.parametrize("name", CASES)
def test_a_bad_night(outcomes: dict[str, "Future[None]"], name: str) -> None:
    outcomes[name].result()


def test_slots_without_a_run_are_freed(
    outcomes: dict[str, "Future[None]"], api: Api, servers: Servers
) -> None:
    """As a server without leases on disk leaves them behind."""
    for outcome in outcomes.values():
        outcome.exception()
    deployment = api.deploy(
        "slots", "default", {}, concurrency_limit=1, concurrency_options=ENQUEUE
    )
    limit = f"/v2/concurrency_limits/deployment:{deployment}"
    api.request("PATCH", limit, {"active_slots": 1})
    environment = {**os.environ, **servers.environment}
    check = [sys.executable, "-m", "infra.bootstrap", "--device", "cpu"]
    found = subprocess.run(
        [*check, "--check"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert found.returncode == 1
    assert f"deployment:{deployment}: 1 of 1 slots held by no live run" in found.stdout
    subprocess.run(check, cwd=ROOT, env=environment, check=True)
    assert api.request("GET", limit)["active_slots"] == 0


def test_a_run_survives_a_restart_of_the_database(
    outcomes: dict[str, "Future[None]"], api: Api, servers: Servers, tmp_path: Path
) -> None:
    for outcome in outcomes.values():
        outcome.exception()
    with running_case(api, "database", tmp_path / "database", steps=LONG) as case:
        run = api.start(case.deployment)
        training = case.wait_for_training()
        servers.postgres.stop()
        servers.postgres.start()
        servers.prefect.wait()
        found = api.wait(run, "Proposed", "Crashed", "Failed")
        assert found["state_name"] == "Proposed", case.log()
        assert case.project.log() == [f"start {training} at 0", f"end {training} at {LONG}"]
        case.check_nothing_left()
