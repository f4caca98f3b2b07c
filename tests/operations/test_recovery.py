"""Failures of a scheduled retraining: killed workers and runs, lost servers, bad models.

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

import pytest

from flows.retrain import MAX_RERUNS
from mambatalk.corpus.snapshot import write_snapshot
from tests.operations.aftermath import check_after
from tests.operations.life import STEPS
from tests.operations.registered import make_registered_project
from tests.operations.servers import Servers
from tests.operations.webhook import running_webhook
from tests.operations.workers import (
    ENDS_SECONDS,
    ENQUEUE,
    ROOT,
    Api,
    Case,
    kill,
    running_case,
    wait_until,
)

pytestmark = [
    pytest.mark.operations,
    pytest.mark.xdist_group("servers"),
    pytest.mark.timeout(1800),
]

LONG = 400
"""Steps of a training that takes 40 s if nothing else runs."""
MINUTE = 600
"""Steps that take a minute at least."""
BOOTSTRAP = ("infra.bootstrap", "--device", "cpu")
DEPLOY = ("prefect", "--no-prompt", "deploy", "--prefect-file", "infra/prefect.yaml")


@pytest.fixture(scope="module")
def api(servers: Servers) -> Iterator[Api]:
    """A server with the pools, automations and deployments of `infra/`."""
    with running_webhook() as webhook:
        api = Api(servers, webhook)
        for command in (BOOTSTRAP, (*DEPLOY, "--all")):
            done = administer(api, *command)
            assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        yield api


def administer(api: Api, *command: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run a command that prepares the server, as an administrator does."""
    fixed = {"MAMBATALK_CHECKOUT": str(ROOT), "MAMBATALK_ALERT_URL": api.alerts.address}
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env={**os.environ, **api.servers.environment, **fixed, **variables},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def worker_killed(case: Case) -> None:
    """The run goes on without its worker, and no other run starts beside it."""
    run = case.api.start(case.deployment)
    training = case.wait_for_training()
    kill(case.workers[0])
    case.start_worker()
    case.check_ended(run, "Proposed")
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
    if case.slow:
        assert case.workers[0].poll() is not None


def killed_in_checkpoint(case: Case) -> None:
    """A machine that dies while a checkpoint is written leaves the one before it."""
    run = case.api.start(case.deployment)
    wait_until((case.project.scratch / "hanging").exists, "a checkpoint", log=case.log)
    kill(*case.processes())
    assert (case.project.scratch / "checkpoints/writing.partial").exists()
    case.start_worker()
    case.check_ended(run, "Proposed")
    started, resumed, ended = case.project.log()
    assert started.endswith("at 0")
    assert resumed.startswith("start ")
    assert resumed.endswith(f"at {HANGS_AT - 1}")
    assert ended.endswith("at 50")


def lost_in_pending(case: Case) -> None:
    """A worker's machine that dies before the run begins leaves it to another worker."""
    run = case.api.start(case.deployment)
    # Prefect 3.8.8 calls the state so when the worker has started a process.
    case.api.wait(run, "Submitting")
    kill(*case.processes())
    case.slow = ""
    case.start_worker()
    case.check_ended(run, "Proposed")
    assert len([line for line in case.project.log() if line.startswith("start")]) == 1


def crashed_four_times(case: Case) -> None:
    """A run that crashes again and again is given up."""
    create = f"/deployments/{case.deployment}/create_flow_run"
    run = case.api.request("POST", create, {"state": {"type": "PENDING"}})["id"]
    for _ in range(MAX_RERUNS + 1):
        case.api.set_state(run, "RUNNING")
        case.api.set_state(run, "CRASHED")
    case.api.set_state(run, "SCHEDULED")
    found = case.check_ended(run, "Failed")
    assert f"crashed {MAX_RERUNS + 1} times" in found["state"]["message"]
    assert case.project.log() == []


def bad_corpus(case: Case) -> None:
    """The checks stop the run before any training, proposal or registration."""
    run = case.api.start(case.deployment)
    found = case.check_ended(run, "Failed")
    assert "1 clip is broken" in found["state"]["message"]
    case.api.wait_for_alert("retrain Failed: ", "1 clip is broken")
    assert case.project.log() == []
    assert case.project.branches() == []


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
    case.check_ended(run, "Proposed")
    assert len(case.project.branches()) == 1
    assert case.project.log() == [f"start {training} at 0", f"end {training} at 100"]


def remote_away_at_start(case: Case) -> None:
    """Without the DVC remote a run ends with one line before it builds anything."""
    case.store.down()
    found = case.check_ended(case.api.start(case.deployment), "Failed")
    case.store.up()
    assert "dvc pull failed (transient): " in found["state"]["message"]
    assert case.project.log() == []
    assert case.project.branches() == []


def mlflow_away(case: Case) -> None:
    """A training goes on without MLflow for a minute, which has every record in the end."""
    run = case.api.start(case.deployment)
    before = case.wait_for_training()
    case.mlflow.down()
    after = case.wait_for_training(10 + MINUTE)
    case.mlflow.up()
    case.check_ended(run, "Proposed")
    assert after == before
    assert case.project.recorded() == MINUTE + 200


def disk_full(case: Case) -> None:
    """A disk that fills up in mid-build stops the run; with more space the next one goes on."""
    found = case.check_ended(case.api.start(case.deployment), "Failed")
    message = found["state"]["message"]
    assert "train failed (config): out/model: expected free disk space" in message
    assert case.project.branches() == []
    case.check_nothing_left()

    case.workers[0].terminate()
    case.workers[0].wait()
    case.start_worker()
    found = case.check_ended(case.api.start(case.deployment), "Proposed")
    # What was there before the disk was full counts: a stage, and the steps of the training.
    assert "; 2 of 3 stages ran" in found["state"]["message"]
    assert [line.split()[-1] for line in case.project.log()] == ["0", "20", "20", "20"]


def check_resumed(case: Case, run: str) -> None:
    assert case.check_ended(run, "Proposed")["run_count"] == 2
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
    return {process.pid for process in case.processes()}


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
            case.api.set_state(run["id"], "CANCELLED")
    return found


HANGS_AT = 20
CASES: dict[str, tuple[Callable[[Case], None], dict[str, Any]]] = {
    "worker-killed": (worker_killed, {"steps": LONG}),
    "both-killed": (both_killed, {"steps": LONG}),
    "engine-killed": (engine_killed, {"steps": LONG}),
    "engine-killed-and-worker-ends": (engine_killed, {"steps": LONG, "slow": "hook"}),
    "killed-in-checkpoint": (killed_in_checkpoint, {"steps": 50, "hangs_at": HANGS_AT}),
    "lost-in-pending": (lost_in_pending, {"steps": 5, "slow": "prefect.engine"}),
    "crashed-four-times": (crashed_four_times, {}),
    "bad-corpus": (bad_corpus, {"word": "bad", "until": "promotion"}),
    "disk-full": (disk_full, {"steps": 20, "megabytes": 3, "disk": "1m"}),
    "remote-away": (remote_away, {"steps": 100, "remote": "s3://dvc/remote-away"}),
    "remote-away-at-start": (remote_away_at_start, {"remote": "s3://dvc/remote-away-at-start"}),
    "mlflow-away": (mlflow_away, {"steps": MINUTE + 200}),
    "cancelled": (cancelled, {"steps": 6000, "obeys": False}),
    "two-at-once": (two_at_once, {"steps": 50}),
    "schedule-fires": (schedule_fires, {"steps": 5}),
}


QUICK = ("bad-corpus", "first-model", "nothing-new", "added-data", "rollback")
"""Cases of `make test-servers`."""
NAMES = [
    pytest.param(name, marks=[pytest.mark.quick] if name in QUICK else [])
    for name in (*CASES, *STEPS)
]
Outcomes = dict[str, "Future[float]"]
"""Seconds by the name of a case or a step."""


@pytest.fixture(scope="module")
def outcomes(
    api: Api, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Outcomes]:
    """All cases that were selected, started at the same time."""
    folder = tmp_path_factory.mktemp("cases")
    chosen = {item.name for item in request.session.items}

    def is_chosen(name: str) -> bool:
        return f"{test_a_case.__name__}[{name}]" in chosen

    def play(name: str) -> float:
        started = time.monotonic()
        act, values = CASES[name]
        with running_case(api, name, folder / name, **values) as case:
            act(case)
            check_after(case)
        return time.monotonic() - started

    def live(steps: Outcomes) -> None:
        project = {"make": make_registered_project, "remote": "s3://dvc/life"}
        with running_case(api, "life", folder / "life", until="promotion", **project) as case:
            for name, outcome in steps.items():
                started = time.monotonic()
                STEPS[name](case)
                check_after(case)
                outcome.set_result(time.monotonic() - started)

    def play_life(steps: Outcomes) -> None:
        try:
            live(steps)
        except BaseException as error:
            # The steps after a failed one fail with it.
            for outcome in steps.values():
                if not outcome.done():
                    outcome.set_exception(error)

    # A step needs those before it.
    last = max((k for k, name in enumerate(STEPS) if is_chosen(name)), default=-1)
    steps: Outcomes = {name: Future() for name in [*STEPS][: last + 1]}
    with ThreadPoolExecutor(len(CASES) + 1) as pool:
        if steps:
            pool.submit(contextvars.copy_context().run, play_life, steps)
        cases = {
            name: pool.submit(contextvars.copy_context().run, play, name)
            for name in CASES
            if is_chosen(name)
        }
        yield cases | steps


@pytest.mark.parametrize("name", NAMES)
def test_a_case(
    outcomes: Outcomes, name: str, record_property: Callable[[str, object], None]
) -> None:
    record_property("seconds", outcomes[name].result())


@pytest.fixture
def after_all(outcomes: Outcomes) -> None:
    """Nothing else uses the servers."""
    for outcome in outcomes.values():
        outcome.exception()


def test_an_announced_snapshot_starts_a_retraining(
    api: Api, servers: Servers, tmp_path: Path
) -> None:
    """The trigger of the deployment `retrain`; no worker takes the run."""
    for folder in ("smplxflame_30", "wave16k"):
        (tmp_path / "corpus" / folder).mkdir(parents=True)
    (tmp_path / "corpus/train_test_split.csv").write_text("id,type\n")
    write_snapshot(tmp_path / "corpus", tmp_path / "snapshot.json")
    deployment = api.request("GET", "/deployments/name/retrain/retrain")["id"]
    subprocess.run(
        [sys.executable, "-m", "flows.announce", str(tmp_path / "snapshot.json")],
        cwd=ROOT,
        env={**os.environ, **servers.environment},
        check=True,
    )
    found = wait_until(
        lambda: [run for run in api.runs(deployment) if not run["auto_scheduled"]],
        "a retraining",
        every=2,
    )
    assert len(found) == 1
    api.request("DELETE", f"/flow_runs/{found[0]['id']}")


@pytest.mark.usefixtures("after_all")
def test_slots_without_a_run_are_freed(api: Api) -> None:
    """As a server without leases on disk leaves them behind."""
    deployment = api.deploy(
        "slots", "default", {}, concurrency_limit=1, concurrency_options=ENQUEUE
    )
    limit = f"/v2/concurrency_limits/deployment:{deployment}"
    api.request("PATCH", limit, {"active_slots": 1})
    found = administer(api, *BOOTSTRAP, "--check")
    assert found.returncode == 1
    assert f"deployment:{deployment}: 1 of 1 slots held by no live run" in found.stdout
    assert administer(api, *BOOTSTRAP).returncode == 0
    assert api.taken_slots(deployment) == 0


@pytest.mark.usefixtures("after_all")
def test_bootstrap_repeated_changes_nothing_and_check_names_what_differs(api: Api) -> None:
    def bootstrap(*options: str) -> tuple[int, set[str]]:
        done = administer(api, *BOOTSTRAP, *options)
        return done.returncode, {*done.stdout.splitlines()}

    unchanged = 0, {"all is as infra/ says"}
    assert bootstrap() == unchanged
    assert bootstrap("--check") == unchanged

    deployment = api.request("GET", "/deployments/name/retrain/retrain")["id"]
    api.request("PATCH", f"/v2/concurrency_limits/deployment:{deployment}", {"limit": 4})
    api.request("PATCH", "/work_pools/cpu/queues/now", {"priority": 5})
    wanted = {"automations": {"name": {"any_": ["mark-silent-runs-crashed"]}}}
    (automation,) = api.request("POST", "/automations/filter", wanted)
    api.request("PATCH", f"/automations/{automation['id']}", {"enabled": False})
    differences = {
        "work queue cpu/now: priority 5, expected 1",
        "automation mark-silent-runs-crashed: differs from infra/automations.yaml",
        "deployment retrain: limit 4, collision strategy ENQUEUE; differs from infra/prefect.yaml",
    }
    # Twice: the first check changes nothing.
    assert bootstrap("--check") == (1, differences)
    assert bootstrap("--check") == (1, differences)
    assert bootstrap() == (0, {f"{line}; corrected" for line in differences})
    assert bootstrap("--check") == unchanged


@pytest.mark.usefixtures("after_all")
def test_a_teams_branch_and_remote_come_from_the_shell_that_deploys(api: Api) -> None:
    def deployed(**variables: str) -> tuple[str, str]:
        done = administer(api, *DEPLOY, "--name", "retrain", **variables)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        found = api.request("GET", "/deployments/name/retrain/retrain")["parameters"]
        return found["ref"], found["git_remote"]

    team = {"MAMBATALK_REF": "origin/main", "MAMBATALK_GIT_REMOTE": "origin"}
    assert deployed(**team) == ("origin/main", "origin")
    assert deployed() == ("", "")


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
        case.check_ended(run, "Proposed")
        assert case.project.log() == [f"start {training} at 0", f"end {training} at {LONG}"]
        check_after(case)


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
        case.check_ended(run, "Cancelled")
        check_after(case)
        # The training obeyed and wrote its checkpoint.
        assert case.project.log()[-1].startswith(f"end {training} at")
