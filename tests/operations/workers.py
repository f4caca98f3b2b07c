"""Deployments, workers and runs of cases that share one Prefect server."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil
import pytest

from tasks.runtime.processes import terminate_with_parent
from tests.helpers.mlflow_server import Server as Relay
from tests.operations.project import Project, make_project
from tests.operations.servers import Servers
from tests.operations.webhook import Webhook

ROOT = Path(__file__).parents[2]
MARK = "OPERATIONS_CASE"
"""Variable of a worker and of all processes below it."""
SLOW = "OPERATIONS_SLOW"
"""Variable that names which processes sleep first."""
ENDS = ("Cancelled", "Failed", "Inconclusive", "Promoted", "Proposed", "Rejected", "Unchanged")
"""Names of the states in which a run may end."""
ENDS_SECONDS = 1500
"""A registration and a decision took more than 900 s on two processors at a load of 20."""
SUITE_SECONDS = 27 * 60
"""Everything that waits gives up this long after the start, so that the suite ends by itself within
half an hour, servers stopped."""
Found = TypeVar("Found")
_SUITE_ENDS = time.monotonic() + SUITE_SECONDS


def wait_until(
    read: Callable[[], Found],
    what: str,
    seconds: float = 400,
    *,
    every: float = 0.5,
    log: Callable[[], str] = str,
) -> Found:
    """Read every half second until the result is true, and return it; `log` explains a failure."""
    pause = threading.Event()
    started = time.monotonic()
    deadline = min(started + seconds, _SUITE_ENDS)
    while not (found := read()):
        now = time.monotonic()
        assert now < deadline, f"waited {now - started:.0f} s for {what}\n{log()}"
        pause.wait(every)
    return found


@dataclass(frozen=True)
class Api:
    """The Prefect server, as far as cases use it.

    Args:
        servers: The server, and those beside it.
        alerts: Where it sends alerts.

    """

    servers: Servers
    alerts: Webhook

    def request(self, method: str, path: str, body: object = None) -> Any:
        environment = self.servers.environment
        user, _, password = environment["PREFECT_API_AUTH_STRING"].partition(":")
        address = environment["PREFECT_API_URL"] + path
        answer = httpx.request(method, address, json=body, auth=(user, password), timeout=120)
        assert answer.is_success, f"{method} {path}: {answer.text}"
        return answer.json() if answer.content else None

    def deploy(
        self,
        name: str,
        queue: str,
        parameters: dict[str, Any],
        *,
        flow: str = "retrain",
        **extra: Any,
    ) -> str:
        """Create a copy of a flow's deployment without its schedule; return its id."""
        original = self.request("GET", f"/deployments/name/{flow}/{flow}")
        copied = ("flow_id", "entrypoint", "path", "pull_steps", "tags")
        body = {key: original[key] for key in copied} | {
            "name": name,
            "work_pool_name": "gpu",
            "work_queue_name": queue,
            "parameters": original["parameters"] | parameters,
        }
        return str(self.request("POST", "/deployments/", body | extra)["id"])

    def start(self, deployment: str) -> str:
        path = f"/deployments/{deployment}/create_flow_run"
        return str(self.request("POST", path, {"state": {"type": "SCHEDULED"}})["id"])

    def run(self, run: str) -> dict[str, Any]:
        return dict(self.request("GET", f"/flow_runs/{run}"))

    def runs(self, deployment: str) -> list[dict[str, Any]]:
        wanted = {"deployments": {"id": {"any_": [deployment]}}}
        return list(self.request("POST", "/flow_runs/filter", wanted))

    def state_names(self, run: str) -> list[str]:
        states = self.request("GET", f"/flow_run_states/?flow_run_id={run}")
        ordered = sorted(states, key=lambda state: state["timestamp"])
        return [state["name"] for state in ordered]

    def wait(self, run: str, *names: str, seconds: float = 600) -> dict[str, Any]:
        """Wait until a run has one of these states."""
        return wait_until(
            lambda: found if (found := self.run(run))["state_name"] in names else None,
            " or ".join(names),
            seconds,
            # A dozen cases ask one server.
            every=2,
            log=lambda: f"states: {self.state_names(run)}",
        )

    def logs(self, deployment: str) -> str:
        """Return the last lines that the runs of a deployment sent."""
        runs = [run["id"] for run in self.runs(deployment)]
        wanted = {"logs": {"flow_run_id": {"any_": runs}}, "sort": "TIMESTAMP_DESC", "limit": 30}
        lines = self.request("POST", "/logs/filter", wanted)
        return "\n".join(line["message"] for line in reversed(lines))

    def taken_slots(self, deployment: str) -> int:
        """Return how many runs the concurrency limit of a deployment counts."""
        limit = self.request("GET", f"/v2/concurrency_limits/deployment:{deployment}")
        return int(limit["active_slots"])

    def set_state(self, run: str, state: str) -> None:
        """Give a run a state of this type, whatever it is in."""
        body = {"state": {"type": state}, "force": True}
        self.request("POST", f"/flow_runs/{run}/set_state", body)

    def wait_for_alert(self, *texts: str) -> None:
        """Wait until an alert was sent that has all these texts."""
        wait_until(
            lambda: any(all(text in alert for text in texts) for alert in self.alerts.posted),
            f"an alert with {texts}",
            120,
            log=lambda: "\n".join(self.alerts.posted),
        )

    def cancel(self, run: str) -> None:
        state = {"state": {"type": "CANCELLING"}}
        self.request("POST", f"/flow_runs/{run}/set_state", state)


@dataclass
class Case:
    """A project with a deployment and a work queue of its own.

    Args:
        api: The server.
        name: Of deployment, queue and MLflow experiment.
        project: What the runs build.
        folder: For logs.
        store: This case's own relay to the S3 store.
        mlflow: This case's own relay to the MLflow server.
        slow: Processes that have this word in their command line sleep first, for ten minutes.

    """

    api: Api
    name: str
    project: Project
    folder: Path
    store: Relay
    mlflow: Relay
    deployment: str = ""
    slow: str = ""
    workers: "list[subprocess.Popen[bytes]]" = field(default_factory=list)
    _ending: bool = False

    @property
    def environment(self) -> dict[str, str]:
        """Variables of a worker, its runs, and other clients of the servers in this case."""
        slow = {"PYTHONPATH": str(self.folder / "slow"), SLOW: self.slow} if self.slow else {}
        return {
            **os.environ,
            **self.api.servers.environment,
            **slow,
            MARK: str(self.folder),
            "AWS_ENDPOINT_URL": self.store.uri,
            "MLFLOW_TRACKING_URI": self.mlflow.uri,
            "MLFLOW_EXPERIMENT_NAME": self.name,
            "MAMBATALK_CHECKOUT": str(ROOT),
            "MAMBATALK_HOME": str(self.folder / "home"),
            "MAMBATALK_STATE_SECONDS": "5",
            "MAMBATALK_GRACE_SECONDS": "5",
            "PREFECT_HOME": str(self.folder / "prefect"),
            "PREFECT_WORKER_QUERY_SECONDS": "5",
        }

    def start_worker(self, disk: str | None = None) -> "subprocess.Popen[bytes]":
        """Start a worker.

        Args:
            disk: Size of the file system in which its runs make their worktrees, such as "1m". If
                None, it is that of the project.

        """
        number = len(self.workers)
        small = self._small_disk(disk) if disk else []
        command = [sys.executable, "-m", "prefect", "worker", "start", "--type", "process"]
        options = ["--pool", "gpu", "--work-queue", self.name, "--limit", "1"]
        with (self.folder / f"worker-{number}.log").open("wb") as log:
            process = subprocess.Popen(
                [*small, *command, *options, "--name", f"{self.name}-{number}"],
                env=self.environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=terminate_with_parent,
            )
        self.workers.append(process)
        return process

    def _small_disk(self, size: str) -> list[str]:
        """Return the start of a command that sees a small file system where worktrees are made."""
        folder = self.project.root / "runs/retrain/worktrees"
        folder.mkdir(parents=True, exist_ok=True)
        command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
        command += ['mount -t tmpfs -o size="$1" none "$0" && shift && exec "$@"']
        command += [str(folder), size]
        if subprocess.run([*command, "true"], stderr=subprocess.DEVNULL).returncode:
            pytest.skip("mounting a small file system is not allowed here")
        return command

    def restart_workers(self) -> None:
        """From now on start a worker when one ends, as Compose, Kubernetes and systemd do."""

        def restart() -> None:
            while True:
                self.workers[-1].wait()
                if self._ending:
                    return
                self.start_worker()

        threading.Thread(target=restart, daemon=True).start()

    def processes(self) -> list[psutil.Process]:
        """Return the workers, and everything below them that still runs."""
        return processes_with(MARK, str(self.folder))

    def engine(self, run: str) -> psutil.Process:
        """Return the process of a flow run, which is the oldest that knows the run's id."""
        family = processes_with("PREFECT__FLOW_RUN_ID", run)
        return min(family, key=lambda process: process.create_time())

    def steps(self) -> int:
        """Return how many steps the training has taken."""
        with suppress(FileNotFoundError):
            return int((self.project.scratch / "steps").read_text())
        return 0

    def wait_for_training(self, steps: int = 10) -> int:
        """Wait until a training has taken steps; return its process id."""
        wait_until(
            lambda: self.steps() >= steps,
            f"step {steps} of the training",
            log=self.log,
        )
        return int(self.project.log()[-1].split()[1])

    def log(self) -> str:
        """Return the ends of the workers' logs, and what the runs said last."""
        paths = sorted(self.folder.glob("worker-*.log"))
        workers = [path.read_text(errors="replace")[-3000:] for path in paths]
        return "\n".join([*workers, self.api.logs(self.deployment)])

    def check_ended(self, run: str, state: str) -> dict[str, Any]:
        """Wait for the end of a run, and verify the name of its state."""
        found = self.api.wait(run, *ENDS, seconds=ENDS_SECONDS)
        assert found["state_name"] == state, f"{found['state']}\n{self.log()}"
        return found

    def ask_mlflow(self, method: str, path: str, **values: Any) -> dict[str, Any]:
        names = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
        user, password = (self.environment[name] for name in names)
        answer = httpx.request(
            method,
            f"{self.mlflow.uri}/api/2.0/mlflow/{path}",
            params=values if method == "GET" else None,
            json=values if method == "POST" else None,
            auth=(user, password),
            timeout=120,
        )
        assert answer.is_success, f"{path}: {answer.text}"
        return dict(answer.json())

    def stop(self) -> None:
        self._ending = True
        for process in self.workers:
            process.terminate()
        for process in self.workers:
            with suppress(subprocess.TimeoutExpired):
                process.wait(30)
        for one in self.processes():
            with suppress(psutil.Error):
                one.kill()
        for process in self.workers:
            process.wait()

    def check_nothing_left(self) -> None:
        """Verify that runs left no process, lock, slot or worktree; workers may still run."""
        wait_until(
            lambda: (
                {one.pid for one in self.processes()} <= {process.pid for process in self.workers}
            ),
            "the processes of the runs to end",
            300,
        )
        assert self.project.worktrees() == []
        for lock in (self.project.root / "runs").rglob("*.lock"):
            assert subprocess.run(["flock", "--nonblock", str(lock), "true"]).returncode == 0, lock
        assert self.api.taken_slots(self.deployment) == 0


@contextmanager
def running_case(
    api: Api,
    name: str,
    folder: Path,
    *,
    until: str = "proposal",
    remote: str | None = None,
    disk: str | None = None,
    slow: str = "",
    make: Callable[[Path, str | None], Project] = make_project,
    **values: str | int | bool,
) -> Iterator[Case]:
    """Make a project, deploy it with a queue of its own as infra/ does, and start a worker.

    Args:
        api: The server.
        name: Of the case.
        folder: To create.
        until: Last step of the runs.
        remote: Address of the DVC remote; a folder if None.
        disk: Size of the file system of the first worker's worktrees, as of `start_worker`.
        slow: Word in the command line of processes that sleep first, as of `Case`.
        make: Makes the project, with a folder and the address of the DVC remote.
        values: Parameters of the project of `make_project`.

    """
    folder.mkdir()
    root = folder / "project"
    project = make(root, remote)
    if make is make_project:
        project.commit(**{"records": True, **values})
    api.request("POST", "/work_pools/gpu/queues", {"name": name})
    store, mlflow = (Relay(port) for port in (api.servers.store.upstream, api.servers.mlflow.port))
    case = Case(api, name, project, folder, store, mlflow, slow=slow)
    (folder / "slow").mkdir()
    (folder / "slow/sitecustomize.py").write_text(SLEEP)
    case.deployment = api.deploy(
        name,
        name,
        {"root": str(root), "until": until},
        concurrency_limit=1,
        concurrency_options=ENQUEUE,
    )
    try:
        case.start_worker(disk)
        yield case
    finally:
        case.stop()
        for relay in (store, mlflow):
            relay.down()


SLEEP = f"""
import os, sys, time
if os.environ["{SLOW}"] in sys.orig_argv and "flows.supervise" not in sys.orig_argv:
    time.sleep(600)
"""
ENQUEUE = {"collision_strategy": "ENQUEUE"}


def processes_with(variable: str, value: str) -> list[psutil.Process]:
    """Return the running processes that have a variable with a value in their environment."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            running = process.status() != psutil.STATUS_ZOMBIE
            if running and process.environ().get(variable) == value:
                found.append(process)
    return found


def kill(*processes: "psutil.Process | subprocess.Popen[bytes]") -> None:
    """Kill processes at the same time, each alone."""
    for process in processes:
        os.kill(process.pid, signal.SIGKILL)
