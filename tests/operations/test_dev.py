"""`python -m flows.dev`: a stack that starts with one command, and ends with Ctrl-C."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from flows.worktrees import git
from tests.operations.servers import clean_environment, free_port
from tests.operations.workers import MARK, ROOT, processes_with, wait_until

pytestmark = [pytest.mark.operations, pytest.mark.timeout(900)]


def test_the_stack_of_one_machine_promotes_a_model_and_leaves_no_process(tmp_path: Path) -> None:
    """Its first retraining is the real pipeline: it checks, trains, registers and promotes."""
    checkout = tmp_path / "checkout"
    git(ROOT, "clone", "--quiet", str(ROOT), str(checkout))
    subprocess.run([sys.executable, "-m", "tasks.tools.profile", "tiny"], cwd=checkout, check=True)
    git(checkout, "config", "user.name", "test")
    git(checkout, "config", "user.email", "test@localhost")
    git(checkout, "commit", "--quiet", "--all", "--message", "Use the smallest profile")
    log = tmp_path / "dev.log"
    mark = str(tmp_path)
    ports = [free_port(), free_port()]
    command = [sys.executable, "-m", "flows.dev"]
    command += ["--prefect-port", str(ports[0]), "--mlflow-port", str(ports[1])]
    environment = {**clean_environment(), MARK: mark, "MAMBATALK_HOME": str(tmp_path / "home")}
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            cwd=checkout,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        wait_until(
            lambda: ": Promoted" in log.read_text() or process.poll() is not None,
            "the retraining to promote its model",
            840,
        )
        assert process.poll() is None, log.read_text()
        assert _listening(mark) >= {("127.0.0.1", port) for port in ports}
        assert {address for address, _ in _listening(mark)} == {"127.0.0.1"}
        status = [sys.executable, "-m", "flows.status"]
        prefect = {"PREFECT_API_URL": f"http://127.0.0.1:{ports[0]}/api"}
        found = subprocess.run(
            status, cwd=checkout, env=environment | prefect, capture_output=True, text=True
        )
        assert "version 1" in found.stdout.lower(), found.stdout + found.stderr

        # As Ctrl-C in a terminal does.
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(120) == 128 + signal.SIGINT, log.read_text()
        wait_until(lambda: not processes_with(MARK, mark), "all processes to end", 120)
    finally:
        for one in processes_with(MARK, mark):
            one.kill()
        process.wait()


def _listening(mark: str) -> set[tuple[str, int]]:
    """Return the addresses and ports on which processes of the stack accept connections."""
    return {
        (one.laddr.ip, one.laddr.port)
        for process in processes_with(MARK, mark)
        for one in process.net_connections()
        if one.status == psutil.CONN_LISTEN
    }
