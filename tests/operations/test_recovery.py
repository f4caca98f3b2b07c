"""Bad nights of a scheduled retraining: killed workers and runs, lost servers, bad models.

The cases run at the same time against one set of servers, each with a project, a deployment and a
worker of its own, because recovery from a silent crash takes minutes. Those that restart a server
come after them.
"""

import contextvars
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.operations.registered import make_registered_project, plant_worse_model
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
    pytest.mark.timeout(2400),
]

LONG = 400
"""Steps of a training that takes 40 s if nothing else runs."""
MINUTE = 600
"""Steps that take a minute at least."""
ENDS_SECONDS = 1500
"""A registration and a decision took more than 900 s on two processors at a load of 20."""


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
    return Api(servers)


def worker_killed(case: Case) -> None:
    """The run goes on without its worker, and no other run starts beside it."""
    run = case.api.start(case.deployment)
    training = case.wait_for_training()
    kill(case.workers[0])
    case.start_worker()
    check_ended(case, run, "Proposed")
    assert case.project.log() == [f"start {training} at 0", f"end {training} at {LONG}"]


def both_killed(case: Case) -> None:
    """Nobody reports the crash: the missing heartbeats do, and another worker continues."""
    run = case.api.start(case.deployment)
    case.wait_for_training()
    kill(case.workers[0], case.engine(run))
    case.start_worker()
    check_resumed(case, run)


def engine_killed(case: Case) -> None:
    """The worker reports the crash, the run is scheduled again, and continues.

    A worker of Prefect 3.8.8 holds a crashed run until a process for the flow's hooks has ended,
    which imports the flow first. If the run is offered to it before that, which slow hooks bring
    about here, the worker ends, and what supervises it starts another.
    """
    case.restart_workers()
    run = case.api.start(case.deployment)
    case.wait_for_training()
    kill(case.engine(run))
    check_resumed(case, run)
    if case.slow_hooks:
        assert case.workers[0].poll() is not None


def killed_in_checkpoint(case: Case) -> None:
    """A machine that dies while a checkpoint is written leaves the one before it."""
    run = case.api.start(case.deployment)
    wait_until((case.project.scratch / "hanging").exists, "a checkpoint", log=case.log)
    kill(*processes_with(MARK, case.name))
    assert (case.project.scratch / "checkpoints/writing.partial").exists()
    case.start_worker()
    check_ended(case, run, "Proposed")
    started, resumed, ended = case.project.log()
    assert started.endswith("at 0")
    assert resumed.startswith("start ")
    assert resumed.endswith(f"at {HANGS_AT - 1}")
    assert ended.endswith("at 50")


def lost_in_pending(case: Case) -> None:
    """A worker's machine that dies before the run begins leaves it to another worker."""
    run = case.api.start(case.deployment)
    case.api.wait(run, "Pending")
    kill(*processes_with(MARK, case.name))
    case.start_worker()
    check_ended(case, run, "Proposed")
    assert len([line for line in case.project.log() if line.startswith("start")]) == 1


def bad_corpus(case: Case) -> None:
    """The checks stop the run before any training, proposal or registration."""
    run = case.api.start(case.deployment)
    found = check_ended(case, run, "Failed")
    assert "1 clip is broken" in found["state"]["message"]
    assert case.project.log() == []
    assert case.project.branches() == []


def worse_model(case: Case) -> None:
    """The gate promotes the first model and rejects a worse one; the champion stays."""
    check_ended(case, case.api.start(case.deployment), "Promoted")
    promoted = aliases(case)
    assert set(promoted) == {"champion"}

    plant_worse_model(case.project)
    found = check_ended(case, case.api.start(case.deployment), "Rejected")
    assert "It fails: " in found["state"]["message"]
    rejected = aliases(case)
    assert rejected == {**promoted, "challenger": rejected["challenger"]}
    # The proposal is there for a person who wants to look at it.
    assert len(case.project.branches()) == 2

    found = check_ended(case, case.api.start(case.deployment), "Unchanged")
    decided = f"the gate has decided about version {rejected['challenger']} before"
    assert decided in found["state"]["message"]


def aliases(case: Case) -> dict[str, str]:
    """Return the aliases of the registered model, with their versions."""
    model = ask_mlflow(case, "GET", "registered-models/get", name="mambatalk")
    found = model["registered_model"].get("aliases", [])
    return {alias["alias"]: alias["version"] for alias in found}


def ask_mlflow(case: Case, method: str, path: str, **values: Any) -> dict[str, Any]:
    names = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
    user, password = (case.environment[name] for name in names)
    answer = httpx.request(
        method,
        f"{case.mlflow.uri}/api/2.0/mlflow/{path}",
        params=values if method == "GET" else None,
        json=values if method == "POST" else None,
        auth=(user, password),
        timeout=120,
    )
    assert answer.is_success, f"{path}: {answer.text}"
    return dict(answer.json())


def remote_away(case: Case) -> None:
    """A remote that goes away in mid-training is asked again at the end."""
    run = case.api.start(case.deployment)
    training = case.wait_for_training()
    case.store.down()
    wait_until(
        lambda: "dvc push failed" in case.api.logs(case.deployment),
        "a failed push",
        every=2,
        log=case.log,
    )
    assert case.project.branches() == []
    case.store.up()
    check_ended(case, run, "Proposed")
    assert len(case.project.branches()) == 1
    assert case.project.log() == [f"start {training} at 0", f"end {training} at 100"]


def mlflow_away(case: Case) -> None:
    """A training goes on without MLflow for a minute, which has every record in the end."""
    run = case.api.start(case.deployment)
    before = case.wait_for_training()
    case.mlflow.down()
    after = case.wait_for_training(10 + MINUTE)
    case.mlflow.up()
    check_ended(case, run, "Proposed")
    assert after == before
    found = ask_mlflow(case, "GET", "experiments/get-by-name", experiment_name=case.name)
    experiment = found["experiment"]["experiment_id"]
    (recorded,) = ask_mlflow(case, "POST", "runs/search", experiment_ids=[experiment])["runs"]
    assert recorded["info"]["status"] == "FINISHED"
    history = ask_mlflow(
        case,
        "GET",
        "metrics/get-history",
        run_id=recorded["info"]["run_id"],
        metric_key="done",
        max_results=MINUTE * 2,
    )
    steps = [int(point["step"]) for point in history["metrics"]]
    assert sorted(steps) == list(range(1, MINUTE + 201))


def check_ended(case: Case, run: str, state: str) -> dict[str, Any]:
    """Wait for the end of a run, and verify the name of its state."""
    ends = {"Cancelled", "Failed", "Inconclusive", "Promoted", "Proposed", "Rejected", "Unchanged"}
    found = case.api.wait(run, *ends, seconds=ENDS_SECONDS)
    assert found["state_name"] == state, f"{found['state']}\n{case.log()}"
    return found


def check_resumed(case: Case, run: str) -> None:
    assert check_ended(case, run, "Proposed")["run_count"] == 2
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
    ends = ("Proposed", "Unchanged", "Failed")
    names = [case.api.wait(run, *ends, seconds=ENDS_SECONDS)["state_name"] for run in runs]
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
    wait_until(lambda: not unended_runs(case), "the runs to end", every=2)


def unended_runs(case: Case) -> list[dict[str, Any]]:
    """Return the runs that have not ended, after cancelling those that wait to begin (again)."""
    ended = ("CANCELLED", "COMPLETED", "FAILED")
    found = [run for run in case.api.runs(case.deployment) if run["state_type"] not in ended]
    for run in found:
        if run["state_type"] in ("CRASHED", "SCHEDULED"):
            state = {"state": {"type": "CANCELLED"}, "force": True}
            case.api.request("POST", f"/flow_runs/{run['id']}/set_state", state)
    return found


HANGS_AT = 20
CASES: dict[str, tuple[Callable[[Case], None], dict[str, Any]]] = {
    "worker-killed": (worker_killed, {"steps": LONG}),
    "both-killed": (both_killed, {"steps": LONG}),
    "engine-killed": (engine_killed, {"steps": LONG}),
    "engine-killed-and-worker-ends": (engine_killed, {"steps": LONG, "slow_hooks": True}),
    "killed-in-checkpoint": (killed_in_checkpoint, {"steps": 50, "hangs_at": HANGS_AT}),
    "lost-in-pending": (lost_in_pending, {"steps": 5}),
    "bad-corpus": (bad_corpus, {"word": "bad", "until": "promotion"}),
    "worse-model": (worse_model, {"make": make_registered_project, "until": "promotion"}),
    "remote-away": (remote_away, {"steps": 100, "remote": "s3://dvc/remote-away"}),
    "mlflow-away": (mlflow_away, {"steps": MINUTE + 200, "records": True}),
    "cancelled": (cancelled, {"steps": 6000, "obeys": False}),
    "two-at-once": (two_at_once, {"steps": 50}),
    "schedule-fires": (schedule_fires, {"steps": 5}),
}


@pytest.fixture(scope="module")
def outcomes(
    api: Api, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, "Future[float]"]]:
    """All cases that were selected, started at the same time; the results are their seconds."""
    folder = tmp_path_factory.mktemp("cases")
    chosen = {item.name for item in request.session.items}
    names = [name for name in CASES if f"{test_a_bad_night.__name__}[{name}]" in chosen]

    def play(name: str) -> float:
        started = time.monotonic()
        act, values = CASES[name]
        with running_case(api, name, folder / name, **values) as case:
            act(case)
            case.check_nothing_left()
        return time.monotonic() - started

    with ThreadPoolExecutor(len(CASES)) as pool:
        yield {name: pool.submit(contextvars.copy_context().run, play, name) for name in names}


@pytest.mark.parametrize("name", CASES)
def test_a_bad_night(
    outcomes: dict[str, "Future[float]"], name: str, record_property: Callable[[str, object], None]
) -> None:
    record_property("seconds", outcomes[name].result())


@pytest.fixture
def after_all(outcomes: dict[str, "Future[float]"]) -> None:
    """Nothing else uses the servers."""
    for outcome in outcomes.values():
        outcome.exception()


@pytest.mark.usefixtures("after_all")
def test_slots_without_a_run_are_freed(api: Api, servers: Servers) -> None:
    """As a server without leases on disk leaves them behind."""
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
    assert api.taken_slots(deployment) == 0


@pytest.mark.usefixtures("after_all")
def test_a_run_survives_a_restart_of_the_database(
    api: Api, servers: Servers, tmp_path: Path
) -> None:
    with running_case(api, "database", tmp_path / "database", steps=LONG) as case:
        run = api.start(case.deployment)
        training = case.wait_for_training()
        servers.postgres.stop()
        servers.postgres.start()
        servers.prefect.wait()
        check_ended(case, run, "Proposed")
        assert case.project.log() == [f"start {training} at 0", f"end {training} at {LONG}"]
        case.check_nothing_left()


@pytest.mark.usefixtures("after_all")
def test_a_run_survives_a_restart_of_the_server_and_can_be_cancelled(
    api: Api, servers: Servers, tmp_path: Path
) -> None:
    """Prefect's worker no longer passes on a cancellation then; the run asks for its state."""
    with running_case(api, "restart", tmp_path / "restart", steps=6000) as case:
        run = api.start(case.deployment)
        training = case.wait_for_training()
        servers.prefect.stop()
        # The training goes on for half a minute without the server.
        assert case.wait_for_training(case.steps() + MINUTE // 2) == training
        servers.prefect.start()
        # Longer than it takes to declare a silent run crashed.
        assert case.wait_for_training(case.steps() + 2 * MINUTE) == training
        assert api.run(run)["state_name"] == "Running"
        api.cancel(run)
        check_ended(case, run, "Cancelled")
        case.check_nothing_left()
        # The training obeyed and wrote its checkpoint.
        assert case.project.log()[-1].startswith(f"end {training} at")
