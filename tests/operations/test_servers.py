"""A team's servers with the settings of `infra/settings`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest

from tests.operations.servers import Servers, probe

pytestmark = [pytest.mark.operations, pytest.mark.quick, pytest.mark.xdist_group("servers")]

EXPERIMENTS = "/api/2.0/mlflow/experiments/search?max_results=1"

# Take the only slot of a limit, wait for a line on standard input, renew the lease, release it, and
# print how many slots are taken at each step.
HOLD_A_SLOT = """
import sys
from prefect import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate

with get_client(sync_client=True) as client:
    def taken():
        return client.read_global_concurrency_limit_by_name("gpu").active_slots

    client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name="gpu", limit=1))
    answer = client.increment_concurrency_slots_with_lease(["gpu"], 1, "concurrency", 600)
    lease = answer.json()["lease_id"]
    print(taken(), flush=True)
    sys.stdin.readline()
    client.renew_concurrency_lease(lease, 600)
    print(taken(), flush=True)
    client.release_concurrency_slots_with_lease(lease)
    print(taken(), flush=True)
"""


def test_servers_listen_on_loopback_alone(servers: Servers) -> None:
    for service in (servers.postgres, servers.mlflow, servers.prefect):
        process = psutil.Process(service.pid)
        family = [process, *process.children(recursive=True)]
        listening = [
            one.laddr.ip
            for member in family
            for one in member.net_connections()
            if one.status == "LISTEN"
        ]
        assert set(listening) == {"127.0.0.1"}, service.name


def test_nobody_reads_without_a_password(servers: Servers) -> None:
    assert httpx.get(servers.mlflow.address + EXPERIMENTS).status_code == 401
    assert httpx.get(servers.prefect.address + "/api/admin/version").status_code == 401


def test_the_probe_fails_where_clients_would_be_refused(servers: Servers) -> None:
    """MLflow's /health answers 200 under a host name that its API refuses."""
    right = {**os.environ, **servers.mlflow.environment}
    assert probe("mlflow", right)
    assert probe("mlflow", {**right, "PROBE_HOST": "mlflow:5000"})
    assert not probe("mlflow", {**right, "PROBE_HOST": "mlflow.example"})
    assert not probe("mlflow", {**right, "MLFLOW_AUTH_ADMIN_PASSWORD": "wrong"})
    health = httpx.get(servers.mlflow.address + "/health", headers={"Host": "mlflow.example"})
    assert health.status_code == 200


def test_no_log_and_no_command_line_shows_a_password(servers: Servers) -> None:
    shown = "".join(service.log for service in (servers.postgres, servers.mlflow, servers.prefect))
    for process in psutil.process_iter(["cmdline"]):
        shown += " ".join(process.info["cmdline"] or ())
    for name, password in servers.secrets.items():
        assert password not in shown, name


def test_mlflow_keeps_artifacts_in_the_store(servers: Servers, tmp_path: Path) -> None:
    code = """
import json, mlflow
with mlflow.start_run() as run:
    mlflow.log_text("kept", "note.txt")
print(json.dumps(mlflow.artifacts.load_text(run.info.artifact_uri + "/note.txt")))
"""
    output = _python(code, servers).splitlines()
    assert json.loads(output[-1]) == "kept"


def test_dvc_pushes_to_the_store_and_pulls_from_it(servers: Servers, tmp_path: Path) -> None:
    environment = {**os.environ, **servers.environment}
    environment["DVC_SITE_CACHE_DIR"] = str(tmp_path / "site")

    def dvc(*arguments: str) -> None:
        command = [sys.executable, "-m", "dvc", "-q", *arguments]
        subprocess.run(command, cwd=tmp_path / "data", env=environment, check=True)

    (tmp_path / "data").mkdir()
    dvc("init", "--no-scm")
    dvc("remote", "add", "--default", "team", "s3://dvc/test")
    (tmp_path / "data" / "clip").write_text("motion")
    dvc("add", "clip")
    dvc("push")
    for path in (tmp_path / "data/.dvc/cache/files", tmp_path / "data/clip"):
        subprocess.run(["rm", "-r", str(path)], check=True)
    dvc("pull")
    assert (tmp_path / "data" / "clip").read_text() == "motion"


def test_a_slot_survives_a_restart_of_the_prefect_server(servers: Servers) -> None:
    """With leases in memory the slot would stay taken for ever."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD_A_SLOT],
        env={**os.environ, **servers.environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout
    assert holder.stdout.readline() == "1\n"
    servers.prefect.stop()
    servers.prefect.start()
    output, _ = holder.communicate("\n", timeout=120)
    assert output.split() == ["1", "0"]


def test_servers_come_back_by_themselves_after_the_database_restarts(servers: Servers) -> None:
    servers.postgres.stop()
    servers.postgres.start()
    servers.prefect.wait()
    servers.mlflow.wait()


def _python(code: str, servers: Servers) -> str:
    environment = {**os.environ, **servers.environment}
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, env=environment, check=True, text=True, stdout=subprocess.PIPE
    ).stdout
