"""Record a stage in MLflow: parameters, metrics, curves, artifacts, models and their origin.

An outage never stops a training: records wait in memory and are sent again later; a warning counts
those that are lost. No file of the pipeline holds a run id; a run is found by its tag
`stage_fingerprint`.
"""

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mambatalk.config import Config, config_dict
from mambatalk.files import digest
from tasks.runtime.status import failure_kind
from tasks.runtime.view import StageView, locked_fingerprints
from tasks.tracking.store import connect, flat, lineage

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

_PARENT_TAG: Final = "mlflow.parentRunId"
_RETRY_SECONDS: Final = 30.0
_BATCH: Final = 200
"""Points of curves per request; MLflow accepts 1,000."""

Record = Callable[["MlflowClient", str], object]


@contextmanager
def recording(stage: str, config: Config, view: StageView, *, root: Path) -> Iterator["Recorder"]:
    """Open the MLflow run of a stage, and end it as FINISHED, FAILED or KILLED with the block.

    Args:
        stage: Name of the stage.
        config: The whole configuration; the declared parameters of it are recorded.
        view: What `dvc.yaml` declares for the stage.
        root: Folder of `dvc.yaml`.

    """
    tags = {**lineage(config, root), "stage": stage, "stage_fingerprint": view.fingerprint}
    recorder = Recorder(stage, tags)
    declared = {
        key: value
        for key, value in flat(config_dict(config)).items()
        if any(key == name or key.startswith(f"{name}.") for name in view.params)
    }
    recorder.params(declared)
    try:
        yield recorder
    except BaseException as error:
        recorder.close("KILLED" if failure_kind(error) == "interrupted" else "FAILED")
        raise
    recorder.close("FINISHED")


class Recorder:
    """The MLflow run of one stage, the `Tracker` of a training.

    No method raises or blocks during an outage of the tracking store.

    Args:
        name: Name of the run.
        tags: Tags of the run.

    Attributes:
        run_id: Id of the MLflow run; None before the first record has been written.

    """

    def __init__(self, name: str, tags: Mapping[str, str]) -> None:
        self.run_id: str | None = None
        self.name = name
        self._tags = dict(tags)
        self._start = _now()
        self._waiting: list[Record] = []
        self._points: list[Metric] = []
        self._outage_until: float | None = None

    def params(self, values: Mapping[str, Any]) -> None:
        """Record parameters under dotted keys."""
        from mlflow.entities import Param

        params = [Param(key, str(value)) for key, value in values.items()]
        self._record(lambda client, run: client.log_batch(run, params=params))

    def metrics(self, values: Mapping[str, Any], step: int = 0) -> None:
        """Record numbers at a step under dotted keys.

        Other values are skipped, such as None for a metric that is undefined.
        """
        from mlflow.entities import Metric

        for key, value in flat(values).items():
            if isinstance(value, int | float):
                self._points.append(Metric(key, float(value), _now(), step))
        if len(self._points) >= _BATCH:
            self._record_points()

    def artifact(self, path: str | Path) -> None:
        """Record a file or a folder, under its own name."""
        path = Path(path)
        if path.is_dir():
            self._record(lambda client, run: client.log_artifacts(run, str(path), path.name))
        else:
            self._record(lambda client, run: client.log_artifact(run, str(path)))

    def model(self, log: Callable[[], object]) -> None:
        """Record a model; `log` is called while this run is the active MLflow run."""

        def record(client: "MlflowClient", run: str) -> None:
            import mlflow

            with mlflow.start_run(run_id=run):
                log()

        self._record(record)

    def close(self, status: str) -> None:
        """Write the waiting records, end the run, and warn if records are lost."""
        # Try once more, even if the last attempt failed a moment ago.
        self._outage_until = None if self._outage_until is None else 0.0
        self._record_points()
        self._record(lambda client, run: client.set_terminated(run, status))
        if self._waiting:
            _warn(
                f"{self.name}: {len(self._waiting)} records never reached MLflow; "
                "the outputs of the stage are complete"
            )

    def _record_points(self) -> None:
        # The closure below keeps the old list, and new points go to a new one.
        points, self._points = self._points, []
        self._record(lambda client, run: client.log_batch(run, metrics=points))

    def _record(self, record: Record) -> None:
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        self._waiting.append(record)
        if self._outage_until is not None and time.monotonic() < self._outage_until:
            return
        try:
            client, run = self._open()
            while self._waiting:
                # A record is removed only after it has been written, so a failure keeps it.
                self._waiting[0](client, run)
                del self._waiting[0]
        except (MlflowException, SQLAlchemyError, OSError) as error:
            if self._outage_until is None:
                _warn(f"{self.name}: MLflow fails ({_one_line(error)}); continuing without it")
            self._outage_until = time.monotonic() + _RETRY_SECONDS

    def _open(self) -> tuple["MlflowClient", str]:
        client, experiment = connect()
        if self.run_id is None:
            self.run_id = client.create_run(
                experiment, self._start, self._tags, self.name
            ).info.run_id
        return client, self.run_id


def join_runs(
    stages: Sequence[str], *, recorder: Recorder | None = None, root: Path = Path()
) -> str | None:
    """Gather the newest run of every stage under one parent run.

    The run of a stage that DVC skipped is found by the fingerprint in `dvc.lock`. The parent names
    each run in a tag `run.STAGE`, and each run names the newest parent it belongs to, so that a run
    shared by two builds is found from both. The same set of runs always has the same parent.

    Args:
        stages: Names of the stages, "train_vq@face" for one of a matrix.
        recorder: The run of the stage that joins; it has no entry in `dvc.lock` yet.
        root: Folder of `dvc.lock`.

    Returns:
        Id of the parent run, or None, after a warning, if the tracking store does not answer.

    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        client, experiment = connect()
        locked = locked_fingerprints(root / "dvc.lock")
        found = {
            stage: _newest(client, experiment, locked[stage]) for stage in stages if stage in locked
        }
        runs = {stage: run for stage, run in found.items() if run}
        parent = _parent(client, experiment, runs, locked)
        if recorder and recorder.run_id:
            client.set_tag(recorder.run_id, _PARENT_TAG, parent)
            client.set_tag(parent, f"run.{recorder.name}", recorder.run_id)
        return parent
    except (MlflowException, SQLAlchemyError, OSError) as error:
        _warn(f"the runs were not joined: MLflow fails ({_one_line(error)})")
        return None


def _newest(client: "MlflowClient", experiment: str, fingerprint: str) -> "Run | None":
    found = client.search_runs(
        [experiment],
        f"tags.stage_fingerprint = '{fingerprint}' and attributes.status = 'FINISHED'",
        max_results=1,
        order_by=["attributes.start_time DESC"],
    )
    return found[0] if found else None


def _parent(
    client: "MlflowClient", experiment: str, runs: Mapping[str, "Run"], locked: Mapping[str, str]
) -> str:
    """Return the id of the parent of a set of runs, which is created if it is new."""
    pipeline = digest({stage: run.info.run_id for stage, run in runs.items()})
    found = client.search_runs(
        [experiment], f"tags.pipeline_fingerprint = '{pipeline}'", max_results=1
    )
    if found:
        return found[0].info.run_id
    shared = {
        key: value
        for run in runs.values()
        for key, value in run.data.tags.items()
        if key in ("git_commit", "snapshot_digest", "seed")
    }
    tags = {
        **shared,
        "stage": "pipeline",
        "pipeline_fingerprint": pipeline,
        "dvc_lock_digest": digest(dict(locked)),
        **{f"run.{stage}": run.info.run_id for stage, run in runs.items()},
    }
    parent = client.create_run(experiment, tags=tags, run_name="pipeline").info.run_id
    for run in runs.values():
        client.set_tag(run.info.run_id, _PARENT_TAG, parent)
    client.set_terminated(parent)
    return parent


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _now() -> int:
    """Return the time in milliseconds, as MLflow expects it."""
    return int(time.time() * 1000)


def _warn(text: str) -> None:
    sys.stderr.write(f"warning: {text}\n")
