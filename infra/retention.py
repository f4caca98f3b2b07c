"""Delete what nobody needs any more: `python -m infra.retention --dry-run`, then without.

| where | kept |
|---|---|
| DVC cache and remote | what any branch, tag, or commit of the last days uses |
| MLflow | runs of the last days, and those of all registered versions; versions themselves always |
| backups | those of the last days, and the last three |

Prefect's server deletes runs and events by itself (`infra/settings/prefect.env`). MLflow runs are
only marked as deleted first, and can be brought back for a week with `mlflow runs restore`; then
a later call of this command deletes them with their artifacts.

Nothing is deleted from DVC while a retraining works in the checkout. Exit codes: 0 done; 1 a part
failed; 2 bad input.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from flows.workspace import Workspace
from flows.worktrees import only_retrain
from infra.backup import prune
from mambatalk.errors import InputError
from tasks.registry.store import NAME
from tasks.runtime.command import run_command
from tasks.tracking.store import connect

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_UNDO_DAYS: Final = 7
_RUN_TAG: Final = "run."
"""Tags of a build's run that name the runs of its stages."""


@dataclass(frozen=True)
class Request:
    """Arguments of one call of the command.

    Attributes:
        workspace: A checkout with the team's DVC remote.
        keep_days: Age in days up to which everything is kept.
        dry_run: Whether to delete nothing.

    """

    workspace: Workspace
    keep_days: int
    dry_run: bool

    @property
    def limit(self) -> datetime:
        """Time before which things may be deleted."""
        return datetime.now(UTC) - timedelta(days=self.keep_days)


def clean_dvc(request: Request) -> str:
    """Delete objects of the DVC cache and remote that no kept commit uses.

    Raises:
        InputError: `dvc gc` failed, or a retraining works in the checkout: what it has made so far
            is in no commit.

    """
    if request.dry_run:
        return _collect_garbage(request)
    with only_retrain(request.workspace):
        return _collect_garbage(request)


def _collect_garbage(request: Request) -> str:
    root = request.workspace.root
    command = [sys.executable, "-m", "dvc", "gc", "--workspace", "--all-branches", "--all-tags"]
    command += ["--date", f"{request.limit:%Y-%m-%d}", "--force"]
    if _has_dvc_remotes(request.workspace):
        command.append("--cloud")
    if request.dry_run:
        command.append("--dry")
    done = subprocess.run(
        command,
        cwd=root,
        env=request.workspace.environment({}),
        capture_output=True,
        text=True,
        check=False,
    )
    lines = (done.stdout + done.stderr).strip().splitlines()
    if done.returncode:
        raise InputError("dvc gc", lines[-1] if lines else "failed", "see `dvc gc --verbose`")
    return "; ".join(lines) or "nothing to delete"


def _has_dvc_remotes(workspace: Workspace) -> bool:
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "remote", "list"],
        cwd=workspace.root,
        env=workspace.environment({}),
        capture_output=True,
        text=True,
        check=False,
    )
    return bool(done.stdout.strip())


def clean_mlflow(request: Request) -> str:
    """Mark old runs as deleted, and delete those that have been marked for a week."""
    if "MLFLOW_TRACKING_URI" not in os.environ:
        return "skipped: MLFLOW_TRACKING_URI is not set"
    # The runs of this pipeline; those of other experiments are not ours to delete.
    client, experiment = connect()
    runs = list(_all_runs(client, experiment))
    kept = needed_runs(runs, _versions(client), request.limit)
    old = [run for run in runs if run.info.run_id not in kept]
    if request.dry_run:
        return f"would mark {len(old)} of {len(runs)} runs as deleted{_names(old)}"
    for run in old:
        client.delete_run(run.info.run_id)
    return f"{len(old)} of {len(runs)} runs marked as deleted; {_purge_mlflow()}"


def needed_runs(
    runs: "list[Run]", versions: list[dict[str, str]], limit: datetime
) -> frozenset[str]:
    """Return the ids of runs that are kept.

    These are runs that are not older than the limit, runs that registered a version, the builds of
    registered versions, and every run that a kept build names: DVC skips stages whose runs may be
    years old.

    Args:
        runs: All runs.
        versions: Tags of each registered version.
        limit: Runs that ended before may be deleted.

    """
    registrations = {tags.get("run_id") for tags in versions}
    locks = {tags.get("dvc_lock_digest") for tags in versions} - {None}
    kept = set()
    for run in runs:
        # A run without an end still runs, or its process was killed; then its start counts.
        time = run.info.end_time or run.info.start_time
        is_recent = time >= limit.timestamp() * 1000
        belongs = run.data.tags.get("dvc_lock_digest") in locks
        if is_recent or belongs or run.info.run_id in registrations:
            kept.add(run.info.run_id)
            tags = run.data.tags.items()
            kept.update(value for key, value in tags if key.startswith(_RUN_TAG))
    return frozenset(kept)


def _all_runs(client: "MlflowClient", experiment: str) -> "Iterator[Run]":
    token: str | None = None
    while True:
        page = client.search_runs([experiment], page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _versions(client: "MlflowClient") -> list[dict[str, str]]:
    found = client.search_model_versions(f"name = '{NAME}'", max_results=10_000)
    return [dict(version.tags) for version in found]


def _names(runs: "list[Run]") -> str:
    if not runs:
        return ""
    return f", such as {runs[0].info.run_name} ({runs[0].info.run_id})"


def _purge_mlflow() -> str:
    """Delete runs that have been marked for a week. This needs the server's own database."""
    if "PGHOST" not in os.environ:
        return "nothing purged: PGHOST is not set"
    database = os.environ.get("MLFLOW_BACKEND_STORE_URI", "postgresql:///mlflow")
    artifacts = os.environ.get("MLFLOW_ARTIFACTS_DESTINATION", "s3://mlflow/artifacts")
    command = [sys.executable, "-m", "mlflow", "gc", "--older-than", f"{_UNDO_DAYS}d"]
    command += ["--backend-store-uri", database, "--artifacts-destination", artifacts]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or "mlflow gc failed").splitlines()[-1]
        raise InputError("mlflow gc", last, "check PGHOST, PGUSER and PGPASSWORD")
    return f"{done.stdout.count('has been permanently deleted')} purged"


def clean_backups(request: Request) -> str:
    """Delete old backups."""
    if "BACKUP_URL" not in os.environ and "AWS_ENDPOINT_URL" not in os.environ:
        return "skipped: neither BACKUP_URL nor AWS_ENDPOINT_URL is set"
    paths = prune(request.keep_days, dry_run=request.dry_run)
    verb = "would delete" if request.dry_run else "deleted"
    example = f", such as {paths[0]}" if paths else ""
    return f"{verb} {len(paths)} paths{example}"


PARTS: Final[dict[str, Callable[[Request], str]]] = {
    "DVC": clean_dvc,
    "MLflow": clean_mlflow,
    "backups": clean_backups,
}


def main(
    root: Annotated[Path, typer.Option(help="A checkout with the team's DVC remote.")] = Path(),
    keep_days: Annotated[
        int, typer.Option(min=1, help="Age in days up to which everything is kept.")
    ] = 90,
    dry_run: Annotated[
        bool, typer.Option(help="Print what would be deleted; delete nothing.")
    ] = False,
) -> None:
    """Delete what nobody needs any more."""
    request = Request(Workspace.open(root), keep_days, dry_run)
    failed = False
    for name, clean in PARTS.items():
        try:
            result = clean(request)
        except Exception as error:
            # The other parts are cleaned even if one fails.
            failed = True
            result = f"FAILED: {' '.join(str(error).split())[:500]}"
        sys.stdout.write(f"{name}: {result}\n")
    if failed:
        raise typer.Exit(1)


if __name__ == "__main__":
    run_command(main, "infra.retention", __doc__)
