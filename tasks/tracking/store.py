"""Where MLflow keeps records: the store, the experiment, and the tags that lead from a run to its
origin.

The store is `MLFLOW_TRACKING_URI` where that is set, otherwise sqlite and a folder under
`MAMBATALK_HOME` (default ~/.local/share/mambatalk), one place for all checkouts.
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
_QUIET: Final = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


def home() -> Path:
    """Folder of everything kept outside checkouts."""
    return Path(
        os.environ.get("MAMBATALK_HOME") or Path.home() / ".local/share/mambatalk"
    ).resolve()


@cache
def connect() -> tuple["MlflowClient", str]:
    """Return a client of the tracking store and the experiment's id, both made where they are
    missing.

    Stages that start at once wait for each other here: the first makes the schema.
    """
    for key, value in _QUIET.items():
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
        found = client.get_experiment_by_name(EXPERIMENT)
        if found:
            return client, found.experiment_id
        # A server keeps artefacts where it likes; sqlite alone would put them under the working
        # directory.
        place = (home() / "artifacts").as_uri() if mlflow.get_tracking_uri() == local else None
        return client, client.create_experiment(EXPERIMENT, place)


def lineage(config: Config) -> dict[str, str]:
    """Tags that lead from a run to what made it: git commit, digest of the corpus snapshot,
    seed.
    """
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    changed = subprocess.run(
        ["git", "status", "--porcelain", "--untracked-files=no"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    snapshot = Path(config.ingest.snapshot)
    tags = {
        "git_commit": commit,
        "git_dirty": str(bool(changed)).lower(),
        "seed": str(config.seed),
        "snapshot_digest": read_json(snapshot)["digest"] if snapshot.exists() else "",
        "dvc_experiment": os.environ.get("DVC_EXP_NAME", ""),
    }
    return {key: value for key, value in tags.items() if value}


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted keys."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            result |= flat(value, f"{prefix}{key}.")
        else:
            result[prefix + key] = value
    return result
