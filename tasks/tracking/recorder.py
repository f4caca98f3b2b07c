"""Record a stage in MLflow: parameters, metrics, curves, artifacts, models and their origin.

An outage never stops a training: records wait in memory and are sent again later; a warning counts
those that are lost. No file of the pipeline holds a run id; a run is found by its tag
`stage_fingerprint`.
"""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mambatalk.config import Config, config_dict
from tasks.runtime.status import failure_kind
from tasks.runtime.view import StageView
from tasks.tracking.data_set import DataSet, corpus_data_set
from tasks.tracking.store import connect, flat, lineage

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

PARENT_TAG: Final = "mlflow.parentRunId"
_RETRY_SECONDS: Final = 30.0
BATCH: Final = 200
"""Points of curves per request; MLflow accepts 1,000."""

MAX_TAG: Final = 5000
"""Characters of a tag that MLflow accepts."""

Record = Callable[["MlflowClient", str], object]
LogModel = Callable[[int], str]
"""Logs a model at a step of the active MLflow run, and returns its id."""


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
    # The stage `prepare` writes the snapshot of the sample; the one there is older.
    data_set = None if stage == "prepare" else corpus_data_set(config, root)
    recorder = Recorder(stage, tags, data_set)
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
        data_set: Corpus that the stage works on, if there is one already.

    Attributes:
        run_id: Id of the MLflow run; None before the first record has been written.

    """

    def __init__(self, name: str, tags: Mapping[str, str], data_set: DataSet | None = None) -> None:
        self.run_id: str | None = None
        self.name = name
        self._data_set = data_set
        self._latest: dict[str, Metric] = {}
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
                self._latest[key] = Metric(key, float(value), _now(), step)
                self._points.append(self._latest[key])
        if len(self._points) >= BATCH:
            self._record_points()

    def tag(self, key: str, value: str) -> None:
        """Set a tag of the run, cut to the length that MLflow accepts."""
        self._record(lambda client, run: client.set_tag(run, key, value[:MAX_TAG]))

    def artifact(self, path: str | Path) -> None:
        """Record a file or a folder, under its own name."""
        path = Path(path)
        if path.is_dir():
            self._record(lambda client, run: client.log_artifacts(run, str(path), path.name))
        else:
            self._record(lambda client, run: client.log_artifact(run, str(path)))

    def model(self, log: LogModel) -> None:
        """Record a model and link it to the latest metrics and to the data set.

        Args:
            log: Called with a step, while this run is the active MLflow run; returns the id of the
                model.

        """
        from mlflow.entities import Metric

        self._record_points()
        latest = list(self._latest.values())
        # A step after all metrics, because MLflow itself links those of the same step, without
        # their data set.
        step = 1 + max((metric.step for metric in latest), default=0)

        def record(client: "MlflowClient", run: str) -> None:
            import mlflow

            with mlflow.start_run(run_id=run):
                model = log(step)
            linked = {"model_id": model}
            if self._data_set:
                linked["dataset_name"] = self._data_set.name
                linked["dataset_digest"] = self._data_set.digest
            # The same points as before, so that the run has each of them once.
            points = [
                Metric(metric.key, metric.value, metric.timestamp, metric.step, **linked)
                for metric in latest
            ]
            client.log_batch(run, metrics=points)

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
                _warn(f"{self.name}: MLflow fails ({one_line(error)}); continuing without it")
            self._outage_until = time.monotonic() + _RETRY_SECONDS

    def _open(self) -> tuple["MlflowClient", str]:
        client, experiment = connect()
        if self.run_id is None:
            self.run_id = client.create_run(
                experiment, self._start, self._tags, self.name
            ).info.run_id
            if self._data_set:
                client.log_inputs(self.run_id, [self._data_set.as_input(self.name)])
        return client, self.run_id


def one_line(error: Exception) -> str:
    """Return the start of an error's message without line breaks."""
    return " ".join(str(error).split())[:200]


def _now() -> int:
    """Return the time in milliseconds, as MLflow expects it."""
    return int(time.time() * 1000)


def _warn(text: str) -> None:
    sys.stderr.write(f"warning: {text}\n")
