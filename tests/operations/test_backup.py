"""Backups of real servers, and a restore after everything was lost."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.operations.servers import Servers, store_keys

pytestmark = [pytest.mark.operations, pytest.mark.xdist_group("servers")]

# Something in each database: a run with an artifact, an account, a variable of Prefect.
FILL = """
import mlflow
from mlflow.server import get_app_client
from prefect.variables import Variable

with mlflow.start_run(run_name="kept") as run:
    mlflow.log_metric("fgd", 1.5)
    mlflow.log_text("weights", "bundle/weights.txt")
get_app_client("basic-auth", mlflow.get_tracking_uri()).create_user("anna", "a-long-password-1")
Variable.set("kept", "value")
"""
READ = """
import json, mlflow
from mlflow.server import get_app_client
from prefect.variables import Variable

[run] = mlflow.search_runs(search_all_experiments=True, output_format="list",
                           filter_string="attributes.run_name = 'kept'")
print(json.dumps({
    "fgd": run.data.metrics["fgd"],
    "artifact": mlflow.artifacts.load_text(run.info.artifact_uri + "/bundle/weights.txt"),
    "user": get_app_client("basic-auth", mlflow.get_tracking_uri()).get_user("anna").username,
    "variable": Variable.get("kept"),
}))
"""


def _python(servers: Servers, *arguments: str) -> str:
    environment = {**os.environ, **servers.environment}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, env=environment, check=True, text=True, stdout=subprocess.PIPE)
    return done.stdout


def _backup(servers: Servers, *arguments: str, **variables: str) -> Any:
    environment = {**os.environ, **servers.environment, **servers.database, **variables}
    command = [sys.executable, "-m", "infra.backup", *arguments]
    return subprocess.run(command, env=environment, check=False, text=True, capture_output=True)


def _sql(servers: Servers, statement: str) -> str:
    command = ["psql", "--tuples-only", "--no-align", "-d", "postgres", "-c", statement]
    environment = {**os.environ, **servers.database}
    done = subprocess.run(command, env=environment, check=True, text=True, stdout=subprocess.PIPE)
    return done.stdout.strip()


def test_a_backup_is_checked_and_brings_everything_back(servers: Servers, tmp_path: Path) -> None:
    """Both in one test, because the servers are stopped and started once."""
    client = boto3.client("s3", endpoint_url=servers.store.uri, **_keys(servers))
    client.put_object(Bucket="dvc", Key="files/md5/00/11", Body=b"motion")
    _python(servers, "-c", FILL)
    # A folder, as a disk that is not the store's own.
    backups = str(tmp_path / "backups")
    created = _backup(servers, "create", BACKUP_URL=backups)
    assert created.returncode == 0, created.stderr
    assert "3 databases" in created.stdout
    [stamp] = [path.name for path in (tmp_path / "backups").iterdir() if path.name != "artifacts"]

    in_use = _backup(servers, "restore", "latest", BACKUP_URL=backups)
    assert in_use.returncode == 2
    assert "stop the MLflow and Prefect servers" in in_use.stderr

    servers.mlflow.stop()
    servers.prefect.stop()
    try:
        _check_restore(servers, tmp_path / "backups" / stamp, backups)
        _lose_and_restore_everything(servers, client, stamp, backups)
    finally:
        servers.mlflow.start()
        servers.prefect.start()
    assert json.loads(_python(servers, "-c", READ).splitlines()[-1]) == {
        "fgd": 1.5,
        "artifact": "weights",
        "user": "anna",
        "variable": "value",
    }


def _check_restore(servers: Servers, backup: Path, backups: str) -> None:
    """Verify that a damaged backup changes nothing, and that a whole one keeps what it replaces."""
    dump = backup / "prefect.dump"
    whole = dump.read_bytes()
    dump.write_bytes(whole[:-1])
    identity = "SELECT oid FROM pg_database WHERE datname = '{}'"
    before = _sql(servers, identity.format("prefect"))
    damaged = _backup(servers, "restore", "latest", BACKUP_URL=backups)
    assert damaged.returncode == 2
    assert "restore another backup" in damaged.stderr
    assert _sql(servers, identity.format("prefect")) == before

    dump.write_bytes(whole)
    assert _backup(servers, "restore", "latest", BACKUP_URL=backups).returncode == 0
    assert _sql(servers, identity.format("prefect_before_restore")) == before


def _lose_and_restore_everything(servers: Servers, client: Any, stamp: str, backups: str) -> None:
    for database in ("mlflow", "mlflow_auth", "prefect"):
        _sql(servers, f"DROP DATABASE {database}")
    # Other tests have left objects in the buckets.
    keys = {bucket: _object_keys(client, bucket) for bucket in ("mlflow", "dvc")}
    for bucket, found in keys.items():
        for key in found:
            client.delete_object(Bucket=bucket, Key=key)

    restored = _backup(servers, "restore", stamp, BACKUP_URL=backups)
    # Exit code 1: the DVC remote is only listed, and its objects are gone.
    assert restored.returncode == 1, restored.stderr
    assert f"lacks {len(keys['dvc'])} objects" in restored.stdout
    assert any(key in restored.stdout for key in keys["dvc"])
    assert _object_keys(client, "mlflow") == keys["mlflow"]


def test_a_missing_backup_and_a_server_that_is_away_are_reported(servers: Servers) -> None:
    missing = _backup(servers, "restore", "20200101T000000Z")
    assert missing.returncode == 2
    assert "expected the backup 20200101T000000Z, found none" in missing.stderr
    away = _backup(servers, "create", PGPORT="1")
    assert away.returncode == 2
    assert "check PGHOST" in away.stderr
    assert len(away.stderr.splitlines()) == 1


def _object_keys(client: Any, bucket: str) -> list[str]:
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return [item["Key"] for page in pages for item in page.get("Contents", [])]


def _keys(servers: Servers) -> dict[str, str]:
    keys = store_keys(servers.secrets)
    return {
        "region_name": keys["AWS_DEFAULT_REGION"],
        "aws_access_key_id": keys["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": keys["AWS_SECRET_ACCESS_KEY"],
    }
