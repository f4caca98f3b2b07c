"""`infra.retention` on real servers deletes what nobody needs, and nothing else."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest

from flows.worktrees import git
from infra.backup import MANIFEST
from tests.operations.project import Project, make_project
from tests.operations.servers import Servers, store_keys
from tests.operations.workers import ROOT

pytestmark = [
    pytest.mark.operations,
    pytest.mark.xdist_group("servers"),
    pytest.mark.timeout(1500),
]

KEEP_DAYS = 30
LONG_AGO = datetime.now(UTC) - timedelta(days=2 * KEEP_DAYS)

# Runs with an artifact each: an old one, an old one that registered a version, and a young one.
FILL = """
import sys, mlflow
from tasks.registry.store import NAME, open_registry
from tasks.tracking.store import connect

client, experiment = open_registry(), connect()[1]
long_ago = int(sys.argv[1])
for name, time in (("old", long_ago), ("registration", long_ago), ("young", None)):
    run = client.create_run(experiment, start_time=time, run_name=name)
    client.log_text(run.info.run_id, name, "note.txt")
    client.set_terminated(run.info.run_id, end_time=time)
    if name == "registration":
        tags = {"run_id": run.info.run_id}
        client.create_model_version(NAME, f"runs:/{run.info.run_id}", run.info.run_id, tags=tags)
"""

# One line for every run: its name, and whether it is marked as deleted.
READ = """
from mlflow.entities import ViewType
from tasks.tracking.store import connect

client, experiment = connect()
for run in client.search_runs([experiment], run_view_type=ViewType.ALL):
    print("found", run.info.run_name, run.info.lifecycle_stage)
"""


def test_old_runs_are_marked_and_a_week_later_deleted_with_their_artifacts(
    servers: Servers, tmp_path: Path
) -> None:
    experiment: dict[str, Any] = {"MLFLOW_EXPERIMENT_NAME": "retention"}
    _python(servers, "-c", FILL, str(int(LONG_AGO.timestamp() * 1000)), **experiment)
    before = {"old": "active", "registration": "active", "young": "active"}
    root = make_project(tmp_path / "project").root

    dry = _retention(servers, root, "--dry-run", **experiment)
    assert "MLflow: would mark 1 of 3 runs as deleted, such as old" in dry
    assert _runs(servers, **experiment) == before

    assert "1 of 3 runs marked as deleted; 0 purged" in _retention(servers, root, **experiment)
    assert _runs(servers, **experiment) == {**before, "old": "deleted"}
    assert _notes(servers) >= {"old", "registration", "young"}

    _sql(servers, "UPDATE runs SET deleted_time = deleted_time - 8 * 86400000::bigint")
    done = _retention(servers, root, **experiment)
    assert "0 of 2 runs marked as deleted; 1 purged" in done
    assert _runs(servers, **experiment) == {"registration": "active", "young": "active"}
    assert _notes(servers).isdisjoint({"old"})
    assert _notes(servers) >= {"registration", "young"}


def test_data_of_old_commits_go_from_cache_and_remote(servers: Servers, tmp_path: Path) -> None:
    project = make_project(tmp_path / "project", "s3://dvc/retention")
    _commit_data(servers, project, "old", LONG_AGO)
    git(project.root, "branch", "kept")
    _commit_data(servers, project, "unneeded", LONG_AGO)
    _commit_data(servers, project, "young", datetime.now(UTC))
    assert _remote_contents(servers) >= {"old", "unneeded", "young"}

    assert "DVC: FAILED" not in _retention(servers, project.root, "--dry-run")
    assert _remote_contents(servers) >= {"old", "unneeded", "young"}

    _retention(servers, project.root)
    cached = {
        path.read_text()
        for path in (project.root / ".dvc/cache/files").rglob("*")
        if path.is_file()
    }
    for found in (cached, _remote_contents(servers)):
        # The tip of a branch is kept, however old it is.
        assert found & {"old", "unneeded", "young"} == {"old", "young"}


def test_old_backups_go_except_the_last_three(servers: Servers, tmp_path: Path) -> None:
    root = make_project(tmp_path / "project").root
    backups = tmp_path / "backups"
    stamps = [f"{LONG_AGO:%Y%m%d}T00000{number}Z" for number in range(5)]
    for stamp in stamps:
        (backups / stamp).mkdir(parents=True)
        (backups / stamp / MANIFEST).write_text(
            f'{{"stamp": "{stamp}", "dumps": {{}}, "artifacts": {{"key": "of-{stamp}"}}, '
            '"remote": {}}'
        )
        (backups / "artifacts").mkdir(exist_ok=True)
        (backups / "artifacts" / f"of-{stamp}").write_text("weights")
    done = _retention(servers, root, BACKUP_URL=str(backups))
    assert "backups: deleted 4 paths" in done
    assert sorted(path.name for path in backups.iterdir()) == [*stamps[2:], "artifacts"]
    left = sorted(path.name for path in (backups / "artifacts").iterdir())
    assert left == [f"of-{stamp}" for stamp in stamps[2:]]


def _python(
    servers: Servers, *arguments: str, cwd: Path = ROOT, date: datetime | None = None, **more: str
) -> str:
    """Run Python with the servers' variables and more, and return what it printed."""
    environment = {**os.environ, **servers.environment, **servers.database, **more}
    if date:
        environment["GIT_COMMITTER_DATE"] = environment["GIT_AUTHOR_DATE"] = date.isoformat()
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def _retention(servers: Servers, root: Path, *options: str, **more: Any) -> str:
    command = ["-m", "infra.retention", "--root", str(root), "--keep-days", str(KEEP_DAYS)]
    return _python(servers, *command, *options, **more)


def _runs(servers: Servers, **more: Any) -> dict[str, str]:
    lines = _python(servers, "-c", READ, **more).splitlines()
    found = [line.split() for line in lines if line.startswith("found ")]
    return {name: stage for _, name, stage in found}


def _notes(servers: Servers) -> set[str]:
    """Return the contents of all artifacts `note.txt`."""
    return _contents(servers, "mlflow", "/note.txt")


def _remote_contents(servers: Servers) -> set[str]:
    return _contents(servers, "dvc", "")


def _contents(servers: Servers, bucket: str, suffix: str) -> set[str]:
    keys = store_keys(servers.secrets)
    client = boto3.client(
        "s3",
        endpoint_url=servers.store.uri,
        region_name=keys["AWS_DEFAULT_REGION"],
        aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
    )
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    found = [item["Key"] for page in pages for item in page.get("Contents", [])]
    return {
        client.get_object(Bucket=bucket, Key=key)["Body"].read().decode(errors="replace")
        for key in found
        if key.endswith(suffix)
    }


def _sql(servers: Servers, statement: str) -> None:
    command = ["psql", "--quiet", "--dbname", "mlflow", "--command", statement]
    subprocess.run(command, env={**os.environ, **servers.database}, check=True)


def _commit_data(servers: Servers, project: Project, words: str, date: datetime) -> None:
    """Commit a file as data with a commit of a date, and push it to the remote."""
    (project.root / "data.txt").write_text(words)
    command = ["-m", "dvc", "--quiet"]
    _python(servers, *command, "add", "data.txt", cwd=project.root)
    git(project.root, "add", "--all")
    code = "import subprocess, sys; subprocess.run(['git', *sys.argv[1:]], check=True)"
    message = ["commit", "--quiet", "--message", f"Keep {words}"]
    _python(servers, "-c", code, *message, cwd=project.root, date=date)
    _python(servers, *command, "push", cwd=project.root)
