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
from tasks.runtime.origin import processor

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT: Final = "mambatalk"
EXPERIMENT_TAGS: Final = {
    # The kind in the list of experiments. Which pages MLflow 3.17 opens does not depend on it, but
    # on the address: see `runs_address`.
    "mlflow.experimentKind": "custom_model_development",
    "mlflow.note.content": (
        "Builds of the pipeline. A run `pipeline ...` is the parent of the runs of its stages, "
        "with headline metrics, all parameters, losses and a link to its report. To compare two "
        "builds, select both and press Compare; `tags.stage = 'pipeline'` hides the stages."
    ),
}
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


def local_store() -> str:
    """Return the address of the database that is used without `MLFLOW_TRACKING_URI`."""
    return f"sqlite:///{home() / 'mlflow.db'}"


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

    local = local_store()
    mlflow.set_tracking_uri(os.environ.get("MLFLOW_TRACKING_URI") or local)
    with FileLock(home() / "mlflow.lock", timeout=60):
        if mlflow.get_tracking_uri() == local and not (home() / "mlflow.db").exists():
            _create_database(home() / "mlflow.db")
        client = mlflow.MlflowClient()
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        found = client.get_experiment_by_name(name)
        if found:
            return client, _with_tags(client, found.experiment_id, found.tags)
        # A server chooses the place of its artifacts; SQLite would take the working directory.
        place = (home() / "artifacts").as_uri() if mlflow.get_tracking_uri() == local else None
        return client, _with_tags(client, client.create_experiment(name, place), {})


def _create_database(path: Path) -> None:
    """Create MLflow's tables, under another name until all are there.

    A process that is killed meanwhile would leave some of them, and every later start of MLflow
    would fail at the first table that exists already.
    """
    import mlflow

    begun = path.with_name(f".{path.name}.begun")
    begun.unlink(missing_ok=True)
    mlflow.MlflowClient(f"sqlite:///{begun}").search_experiments(max_results=1)
    begun.replace(path)


def _with_tags(client: "MlflowClient", experiment: str, present: Mapping[str, str]) -> str:
    """Add the tags that the experiment lacks, and return its id."""
    for key, value in EXPERIMENT_TAGS.items():
        if key not in present:
            client.set_experiment_tag(experiment, key, value)
    return experiment


def runs_address(experiment: str) -> str | None:
    """Return the address of an experiment's runs under `mlflow ui`; None without a local store.

    Without `workflowType`, MLflow 3.17 opens its pages for agents first: traces, judges, prompts.
    """
    if not (home() / "mlflow.db").exists():
        return None
    for key, value in _MLFLOW_SETTINGS.items():
        os.environ.setdefault(key, value)
    import mlflow

    found = mlflow.MlflowClient(local_store()).get_experiment_by_name(experiment)
    if found is None:
        return None
    page = f"#/experiments/{found.experiment_id}/runs?workflowType=machine_learning"
    return f"http://127.0.0.1:5000/{page}"


def lineage(config: Config, root: Path) -> dict[str, str]:
    """Return tags that lead from a run to its origin: commit, snapshot, seed and processor."""
    snapshot = root / config.ingest.snapshot
    changes = _git(root, "status", "--porcelain", "--untracked-files=no")
    tags = {
        "git_commit": _git(root, "rev-parse", "HEAD"),
        "git_dirty": str(bool(changes)).lower(),
        "seed": str(config.seed),
        "processor": processor(),
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
