"""The MLflow store, its experiment, and the tags that lead from a run to its origin.

The store is `MLFLOW_TRACKING_URI` if set, otherwise a SQLite database and a folder of artifacts
under `MAMBATALK_HOME` (default ~/.local/share/mambatalk), shared by all checkouts. The experiment
is `MLFLOW_EXPERIMENT_NAME` if set, otherwise "mambatalk".
"""

import logging
import os
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mambatalk.config import Config
from mambatalk.files import read_json

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT: Final = "mambatalk"
_MLFLOW_SETTINGS: Final = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


def home() -> Path:
    """Return the folder for everything that is kept outside checkouts."""
    return Path(
        os.environ.get("MAMBATALK_HOME") or Path.home() / ".local/share/mambatalk"
    ).resolve()


@cache
def connect() -> tuple["MlflowClient", str]:
    """Return a client of the tracking store and the id of the experiment.

    Both are created if they are missing. Stages that start at the same time wait for each other
    here, because the first one creates the database schema.
    """
    for key, value in _MLFLOW_SETTINGS.items():
        os.environ.setdefault(key, value)
    home().mkdir(parents=True, exist_ok=True)
    import mlflow
    from filelock import FileLock

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)

    local = f"sqlite:///{home() / 'mlflow.db'}"
    mlflow.set_tracking_uri(os.environ.get("MLFLOW_TRACKING_URI") or local)
    with FileLock(home() / "mlflow.lock", timeout=60):
        client = mlflow.MlflowClient()
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        found = client.get_experiment_by_name(name)
        if found:
            return client, found.experiment_id
        # A server chooses the place of its artifacts; SQLite would take the working directory.
        place = (home() / "artifacts").as_uri() if mlflow.get_tracking_uri() == local else None
        return client, client.create_experiment(name, place)


def lineage(config: Config, root: Path) -> dict[str, str]:
    """Return tags that lead from a run to its origin: git commit, corpus snapshot, seed."""
    snapshot = root / config.ingest.snapshot
    changes = _git(root, "status", "--porcelain", "--untracked-files=no")
    tags = {
        "git_commit": _git(root, "rev-parse", "HEAD"),
        "git_dirty": str(bool(changes)).lower(),
        "seed": str(config.seed),
        "snapshot_digest": read_json(snapshot)["digest"] if snapshot.exists() else "",
        "dvc_experiment": os.environ.get("DVC_EXP_NAME", ""),
    }
    return {key: value for key, value in tags.items() if value}


def _git(root: Path, *arguments: str) -> str:
    """Return git's output; empty if there is no git or no commit."""
    result = subprocess.run(
        ["git", *arguments], cwd=root, capture_output=True, text=True, check=False
    )
    return result.stdout.strip()


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested mappings into one with dotted keys."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            result |= flat(value, f"{prefix}{key}.")
        else:
            result[prefix + key] = value
    return result
