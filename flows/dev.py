"""Run a team's stack on this machine, and watch a retraining: `python -m flows.dev`.

Starts a Prefect server with a SQLite database, MLflow's pages, and a worker for each work pool, all
on the loopback address; applies infra/; and starts one run of the deployment `retrain`, which
builds the last commit in a worktree, registers the bundle and lets the gate decide. The schedules
of infra/prefect.yaml are active as long as this runs. Ctrl-C ends everything; run it again to
continue. Databases and logs are in MAMBATALK_HOME/dev, models in the usual MLflow store.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, Final

import httpx
import typer

from flows.supervise import run_supervised
from flows.workspace import Workspace
from mambatalk.errors import InputError
from tasks.runtime.command import run_command
from tasks.runtime.processes import terminate_with_parent
from tasks.tracking.store import connect, home, local_store

CHECKOUT: Final = Path(__file__).parents[1]
_HOST: Final = "127.0.0.1"
_START_SECONDS: Final = 180
_POLL_SECONDS: Final = 2.0
_POOLS: Final = ("cpu", "gpu")


def run_stack(prefect_port: int, mlflow_port: int) -> None:
    """Run all services until one of them ends.

    Raises:
        InputError: A port is taken, or a service did not start.

    """
    for option, port in (("--prefect-port", prefect_port), ("--mlflow-port", mlflow_port)):
        _check_free(option, port)
    folder = home() / "dev"
    folder.mkdir(parents=True, exist_ok=True)
    # Creates the store; MLflow's server would create it in the working directory.
    connect()
    api = f"http://{_HOST}:{prefect_port}/api"
    environment = Workspace.open(CHECKOUT).environment(
        {
            **_settings("worker.env"),
            "MAMBATALK_CHECKOUT": str(CHECKOUT),
            "PREFECT_API_URL": api,
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": (
                "prefect.server.concurrency.lease_storage.filesystem"
            ),
            "PREFECT_WORKER_QUERY_SECONDS": "5",
        }
    )
    services: dict[str, subprocess.Popen[bytes]] = {}
    with ExitStack() as stack:

        def start(name: str, *command: str) -> None:
            with (folder / f"{name}.log").open("ab") as log:
                services[name] = subprocess.Popen(
                    [sys.executable, "-m", *command],
                    cwd=CHECKOUT,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    preexec_fn=terminate_with_parent,
                )
            stack.callback(_end, services[name])

        server = ("prefect", "server", "start")
        start("prefect", *server, "--host", _HOST, "--port", str(prefect_port))
        pages = ("--host", _HOST, "--port", str(mlflow_port), "--workers", "1")
        start("mlflow", "mlflow", "server", "--backend-store-uri", local_store(), *pages)
        _say("starting, which takes half a minute")
        _wait_for(f"{api}/health", services["prefect"], folder)
        device = ["--device", "cpu"] if _without_gpu() else []
        _apply(environment, folder, "infra.bootstrap", *device)
        deploy = ("prefect", "--no-prompt", "deploy", "--all")
        _apply(environment, folder, *deploy, "--prefect-file", "infra/prefect.yaml")
        worker = ("prefect", "worker", "start", "--type", "process", "--limit", "1", "--pool")
        workers = {f"worker-{pool}": (*worker, pool) for pool in _POOLS}
        for name, command in workers.items():
            start(name, *command)
        _say(f"Prefect  http://{_HOST}:{prefect_port}")
        _say(f"MLflow   http://{_HOST}:{mlflow_port}")
        _say(f"logs     {folder}")
        # The first writes to a busy SQLite database can be refused (503); this command tries again.
        _apply(environment, folder, "prefect", "deployment", "run", "retrain/retrain")
        seen: dict[str, str] = {}
        while True:
            ended = _watch(api, services, seen)
            log = folder / f"{ended}.log"
            if ended not in workers:
                raise InputError(ended, "expected it to run, found that it ended", f"read {log}")
            # As for a team; see Restart in infra/systemd.
            _say(f"{ended} has ended (read {log}); it is started again")
            start(ended, *workers[ended])


def _check_free(option: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError:
            raise InputError(
                option,
                f"expected a free port, found {port} in use",
                "stop what uses it, or choose another port",
            ) from None


def _settings(name: str) -> dict[str, str]:
    lines = (CHECKOUT / "infra/settings" / name).read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def _without_gpu() -> bool:
    import torch

    return not torch.cuda.is_available()


def _wait_for(address: str, process: "subprocess.Popen[bytes]", folder: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            httpx.get(address, timeout=10).raise_for_status()
            return
        except httpx.HTTPError:
            time.sleep(_POLL_SECONDS)
    raise InputError(
        "Prefect server", "expected it to start, found no answer", f"read {folder}/prefect.log"
    )


def _apply(environment: Mapping[str, str], folder: Path, *command: str) -> None:
    log = folder / "apply.log"
    with log.open("ab") as file:
        code = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=CHECKOUT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            check=False,
        ).returncode
    if code:
        problem = f"expected success, found exit code {code}"
        raise InputError(f"python -m {' '.join(command)}", problem, f"read {log}")


def _watch(
    api: str, services: Mapping[str, "subprocess.Popen[bytes]"], seen: dict[str, str]
) -> str:
    """Print what runs do, until a service ends; return its name.

    Args:
        api: Address of the Prefect server's API.
        services: Processes by name.
        seen: State of every run that was printed, by the run's id; updated.

    """
    while True:
        for run in _runs(api):
            state = run["state"]
            if seen.get(run["id"]) != state["name"]:
                seen[run["id"]] = state["name"]
                message = f": {state['message']}" if state.get("message") else ""
                _say(f"{run['name']}: {state['name']}{message}")
        for name, process in services.items():
            if process.poll() is not None:
                return name
        time.sleep(_POLL_SECONDS)


def _runs(api: str) -> list[dict[str, Any]]:
    """Return the runs of deployments that have begun, the oldest first."""
    begun = {"flow_runs": {"start_time": {"is_null_": False}}, "sort": "START_TIME_ASC"}
    try:
        answer = httpx.post(f"{api}/flow_runs/filter", json=begun, timeout=60)
        return list(answer.json()) if answer.is_success else []
    except httpx.HTTPError:
        return []


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _say(text: str) -> None:
    sys.stdout.write(f"dev: {text}\n")
    sys.stdout.flush()


def _command(
    prefect_port: Annotated[int, typer.Option(help="Port of the Prefect server.")] = 4200,
    mlflow_port: Annotated[int, typer.Option(help="Port of MLflow's pages.")] = 5000,
) -> None:
    for name in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL"):
        os.environ.pop(name, None)
    run_supervised()
    run_stack(prefect_port, mlflow_port)


if __name__ == "__main__":
    run_command(_command, "flows.dev", __doc__)
