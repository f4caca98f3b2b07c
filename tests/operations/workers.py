"""Deployments, workers and runs of cases that share one Prefect server."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil

from tests.operations.project import Project, make_project

ROOT = Path(__file__).parents[2]
MARK = "OPERATIONS_CASE"
"""Variable of a worker and of all processes below it."""
Found = TypeVar("Found")


def wait_until(read: Callable[[], Found], what: str, seconds: float = 400) -> Found:
    """Read every half second until the result is true, and return it."""
    pause = threading.Event()
    deadline = time.monotonic() + seconds
    while not (found := read()):
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        pause.wait(0.5)
    return found


@dataclass(frozen=True)
class Api:
    """The Prefect server, as far as cases use it.

    Args:
        environment: Variables of a client of the server.

    """

    environment: Mapping[str, str]

    def request(self, method: str, path: str, body: object = None) -> Any:
        user, _, password = self.environment["PREFECT_API_AUTH_STRING"].partition(":")
        address = self.environment["PREFECT_API_URL"] + path
        answer = httpx.request(method, address, json=body, auth=(user, password), timeout=120)
        assert answer.is_success, f"{method} {path}: {answer.text}"
        return answer.json() if answer.content else None

    def deploy(self, name: str, queue: str, parameters: dict[str, Any], **extra: Any) -> str:
        """Create a copy of the deployment `retrain` without its schedule; return its id."""
        original = self.request("GET", "/deployments/name/retrain/retrain")
        copied = ("flow_id", "entrypoint", "path", "pull_steps", "tags", "work_pool_name")
        body = {key: original[key] for key in copied} | {
            "name": name,
            "work_queue_name": queue,
            "parameters": original["parameters"] | {"until": "proposal"} | parameters,
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
            f"{' or '.join(names)}; states: {self.state_names(run)}",
            seconds,
        )

    def logs(self, deployment: str) -> str:
        """Return the last lines that the runs of a deployment sent."""
        runs = [run["id"] for run in self.runs(deployment)]
        wanted = {"logs": {"flow_run_id": {"any_": runs}}, "sort": "TIMESTAMP_DESC", "limit": 30}
        lines = self.request("POST", "/logs/filter", wanted)
        return "\n".join(line["message"] for line in reversed(lines))

    def cancel(self, run: str) -> None:
        state = {"state": {"type": "CANCELLING"}}
        self.request("POST", f"/flow_runs/{run}/set_state", state)


@dataclass
class Case:
    """A project with a deployment and a work queue of its own.

    Args:
        api: The server.
        name: Of deployment and queue.
        project: What the runs build.
        folder: For logs.

    """

    api: Api
    name: str
    project: Project
    folder: Path
    deployment: str = ""
    _workers: "list[subprocess.Popen[bytes]]" = field(default_factory=list)

    def start_worker(self) -> "subprocess.Popen[bytes]":
        number = len(self._workers)
        command = [sys.executable, "-m", "prefect", "worker", "start", "--type", "process"]
        options = ["--pool", "gpu", "--work-queue", self.name, "--limit", "1"]
        environment = {
            **os.environ,
            **self.api.environment,
            MARK: self.name,
            "MAMBATALK_CHECKOUT": str(ROOT),
            "MAMBATALK_HOME": str(self.folder / "home"),
            "MAMBATALK_STATE_SECONDS": "5",
            "MAMBATALK_GRACE_SECONDS": "5",
            "PREFECT_HOME": str(self.folder / "prefect"),
            "PREFECT_WORKER_QUERY_SECONDS": "5",
        }
        with (self.folder / f"worker-{number}.log").open("wb") as log:
            process = subprocess.Popen(
                [*command, *options, "--name", f"{self.name}-{number}"],
                env=environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._workers.append(process)
        return process

    def engine(self, run: str) -> psutil.Process:
        """Return the process of a flow run, which is the oldest that knows the run's id."""
        family = processes_with("PREFECT__FLOW_RUN_ID", run)
        return min(family, key=lambda process: process.create_time())

    def wait_for_training(self, steps: int = 10) -> int:
        """Wait until a training has taken steps; return its process id."""
        counter = self.project.scratch / "steps"
        wait_until(
            lambda: counter.exists() and int(counter.read_text() or 0) >= steps,
            f"step {steps} of the training; {self.log()}",
        )
        return int(self.project.log()[-1].split()[1])

    def log(self) -> str:
        """Return the ends of the workers' logs, and what the runs said last."""
        paths = sorted(self.folder.glob("worker-*.log"))
        workers = [path.read_text(errors="replace")[-3000:] for path in paths]
        return "\n".join([*workers, self.api.logs(self.deployment)])

    def stop(self) -> None:
        for process in self._workers:
            process.terminate()
        for process in self._workers:
            with suppress(subprocess.TimeoutExpired):
                process.wait(30)
        for one in processes_with(MARK, self.name):
            with suppress(psutil.Error):
                one.kill()
        for process in self._workers:
            process.wait()

    def check_nothing_left(self) -> None:
        """Verify that no process, worktree or lock of a run is left; workers may still run."""
        workers = {process.pid for process in self._workers}
        wait_until(
            lambda: {one.pid for one in processes_with(MARK, self.name)} <= workers,
            "the processes of the runs to end",
            60,
        )
        assert self.project.worktrees() == []
        lock = self.project.root / "runs/retrain/scratch/retrain.lock"
        assert subprocess.run(["flock", "--nonblock", str(lock), "true"]).returncode == 0


@contextmanager
def running_case(
    api: Api,
    name: str,
    folder: Path,
    *,
    limit: int | None = None,
    until: str = "proposal",
    **values: str | int | bool,
) -> Iterator[Case]:
    """Make a project with parameters, deploy it with a queue of its own, and start a worker."""
    folder.mkdir()
    project = make_project(folder / "project")
    if values:
        project.commit(**values)
    api.request("POST", "/work_pools/gpu/queues", {"name": name})
    case = Case(api, name, project, folder)
    extra = {"concurrency_limit": limit, "concurrency_options": ENQUEUE} if limit else {}
    parameters = {"root": str(project.root), "until": until}
    case.deployment = api.deploy(name, name, parameters, **extra)
    try:
        case.start_worker()
        yield case
    finally:
        case.stop()


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
