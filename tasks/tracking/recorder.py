"""Record a stage in MLflow: parameters, metrics, curves, artifacts, models and their origin.

Records go to a spool on disk, which a thread empties into MLflow. An outage neither stops nor slows
a stage, and loses nothing: what is left is sent by a later stage, or by
`python -m tasks.tools.send_records`. A stage that was interrupted continues its MLflow run. No file
of the pipeline holds a run id; a run is found by its tag `stage_fingerprint`.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from mambatalk.config import Config, config_dict
from mambatalk.errors import InputError
from mambatalk.files import digest
from tasks.runtime.status import failure_kind
from tasks.runtime.view import StageView
from tasks.tracking.data_set import DataSet, corpus_data_set
from tasks.tracking.sender import (
    SPOOL_TAG,
    Sender,
    has_ended,
    new_spool_id,
    one_line,
    warn,
)
from tasks.tracking.spool import SUFFIX, Spool, SpoolInUseError, spool_folder
from tasks.tracking.store import connect, flat, lineage

PARENT_TAG: Final = "mlflow.parentRunId"
MAX_TAG: Final = 5000
"""Characters of a tag that MLflow accepts."""
FLUSH_SECONDS: Final = 30.0
"""Longest time that the end of a stage waits for MLflow."""
KILLED_FLUSH_SECONDS: Final = 5.0
"""The same for a stage that was told to stop, and is killed if it takes too long."""

LogModel = Callable[[int], str]
"""Logs a model at a step of the active MLflow run, and returns its id."""
Point = tuple[str, float, int, int]
"""Key, value, time in milliseconds and step of a metric."""


@contextmanager
def recording(stage: str, config: Config, view: StageView, *, root: Path) -> Iterator["Recorder"]:
    """Open the MLflow run of a stage, and end it as FINISHED, FAILED or KILLED with the block.

    Args:
        stage: Name of the stage.
        config: The whole configuration, of which the declared parameters are recorded.
        view: What `dvc.yaml` declares for the stage.
        root: Folder of `dvc.yaml`.

    """
    tags = {**lineage(config, root), "stage": stage, "stage_fingerprint": view.fingerprint}
    # The stage `prepare` writes the snapshot of the sample; the one there is older.
    data_set = None if stage == "prepare" else corpus_data_set(config, root)
    # The same stage with the same inputs in the same checkout continues what was interrupted.
    spool_key = digest([str(root.resolve()), stage, view.fingerprint])
    recorder = Recorder(stage, tags, data_set, key=spool_key)
    declared = {
        key: value
        for key, value in flat(config_dict(config)).items()
        if any(key == name or key.startswith(f"{name}.") for name in view.params)
    }
    recorder.params(declared)
    try:
        yield recorder
    except BaseException as error:
        stopped = failure_kind(error) in ("interrupted", "cancelled")
        recorder.close("KILLED" if stopped else "FAILED")
        raise
    recorder.close("FINISHED")


class Recorder:
    """The MLflow run of one stage, the `Tracker` of a training.

    During an outage of the tracking store no method raises, and only `flush` and `close` wait, for
    a limited time.

    Args:
        name: Name of the run.
        tags: Tags of the run.
        data_set: Corpus that the stage works on, if there is one already.
        key: Name of the spool. An interrupted stage with the same key is continued. If None, the
            run is a new one.

    """

    def __init__(
        self,
        name: str,
        tags: Mapping[str, str],
        data_set: DataSet | None = None,
        *,
        key: str | None = None,
    ) -> None:
        self.name = name
        self._data_set = data_set
        self._key = key
        self._tags = dict(tags)
        self._latest: dict[str, Point] = {}
        self._recorded: set[tuple[str, int]] = set()
        self._models: list[LogModel] = []
        # Opened by the first record, so that a recorder without any needs no folder.
        self._spool: Spool | None = None
        self._sender: Sender | None = None
        self._broken = False

    @property
    def run_id(self) -> str | None:
        """Id of the MLflow run; None before MLflow has the first record."""
        return self._spool.sent.run_id if self._spool else None

    def params(self, values: Mapping[str, Any]) -> None:
        """Record parameters under dotted keys."""
        self._record({"kind": "params", "values": {key: str(v) for key, v in values.items()}})

    def metrics(self, values: Mapping[str, Any], step: int = 0) -> None:
        """Record numbers at a step under dotted keys.

        Other values are skipped, such as None for a metric that is undefined, and points that the
        stage recorded before it was interrupted.
        """
        self._open()
        points: list[Point] = [
            (key, float(value), _now(), step)
            for key, value in flat(values).items()
            if isinstance(value, int | float) and (key, step) not in self._recorded
        ]
        self._latest |= {point[0]: point for point in points}
        if points:
            self._record({"kind": "metrics", "points": points})

    def tag(self, key: str, value: str) -> None:
        """Set a tag of the run, cut to the length that MLflow accepts."""
        self._record({"kind": "tag", "key": key, "value": value[:MAX_TAG]})

    def artifact(self, path: str | Path) -> None:
        """Record a file or a folder, under its own name. It is read when it is sent."""
        self._record({"kind": "artifact", "path": str(Path(path).resolve())})

    def model(self, log: LogModel) -> None:
        """Record a model and link it to the latest metrics and to the data set.

        Args:
            log: Called with a step, while this run is the active MLflow run; returns the id of the
                model. If MLflow fails now, it is called once more at the end of the stage.

        """
        self._open()
        if not self._log_model(log):
            self._models.append(log)

    def flush(self, timeout: float = FLUSH_SECONDS) -> bool:
        """Send all records so far; return whether MLflow has them."""
        return self._sender is not None and self._sender.flush(timeout)

    def close(self, status: str) -> None:
        """End the run, send what is left, and warn if MLflow does not have all of it."""
        self._open()
        lost = [log for log in self._models if not self._log_model(log)]
        self._record({"kind": "end", "status": status, "time": _now()})
        if self._spool is None or self._sender is None:
            return
        sent = self.flush(KILLED_FLUSH_SECONDS if status == "KILLED" else FLUSH_SECONDS)
        self._sender.close()
        if not sent:
            waiting = len(self._spool.unsent())
            warn(
                f"{self.name}: {waiting} records wait for MLflow in {self._spool.path}; the next "
                "stage sends them, or python -m tasks.tools.send_records"
            )
        if lost:
            warn(f"{self.name}: {len(lost)} models never reached MLflow; the outputs are complete")
        self._spool.close(delete=sent and status != "KILLED")

    def _record(self, record: dict[str, Any]) -> None:
        self._open()
        if self._spool is None:
            return
        try:
            self._spool.append(record)
        except OSError as error:
            self._give_up(error)

    def _log_model(self, log: LogModel) -> bool:
        """Log a model and link it; return whether MLflow has it."""
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        # First the metrics, which it is linked to.
        if not self.flush() or self.run_id is None:
            return False
        try:
            self._link(log, self.run_id)
        except (MlflowException, SQLAlchemyError, OSError) as error:
            warn(f"{self.name}: MLflow does not take the model ({one_line(error)})")
            return False
        return True

    def _link(self, log: LogModel, run: str) -> None:
        import mlflow
        from mlflow.entities import Metric

        client, _ = connect()
        latest = list(self._latest.values())
        # A step after all metrics, because MLflow itself links those of the same step, without
        # their data set.
        step = 1 + max((point[3] for point in latest), default=0)
        with mlflow.start_run(run_id=run):
            model = log(step)
        # `start_run` ends the run; it ends with the stage.
        client.update_run(run, status="RUNNING")
        linked: dict[str, Any] = {"model_id": model}
        if self._data_set:
            linked["dataset_name"] = self._data_set.name
            linked["dataset_digest"] = self._data_set.digest
        # The same points as before, so that the run has each of them once.
        client.log_batch(run, metrics=[Metric(*point, **linked) for point in latest])

    def _open(self) -> None:
        """Open the spool of an interrupted stage with the same key, or a new one, and send it."""
        if self._spool is not None or self._broken:
            return
        try:
            self._spool = self._interrupted() or self._new()
        except (OSError, InputError) as error:
            self._give_up(error)
            return
        # Imported here, because the imports of two threads can wait for each other.
        import mlflow  # noqa: F401
        from mlflow.store.tracking import rest_store, sqlalchemy_store  # noqa: F401

        self._sender = Sender(self._spool, self.name)

    def _interrupted(self) -> Spool | None:
        if self._key is None:
            return None
        for path in sorted(spool_folder().glob(f"{self.name}-{self._key[:16]}-*{SUFFIX}")):
            try:
                spool = Spool(path)
            except SpoolInUseError:
                continue
            if has_ended(spool):
                spool.close()
                continue
            for record, _ in spool.records():
                for key, value, moment, step in record.get("points", ()):
                    self._recorded.add((key, step))
                    self._latest[key] = (key, value, moment, step)
            spool.append({"kind": "resume"})
            return spool
        return None

    def _new(self) -> Spool:
        spool_id = new_spool_id()
        key = (self._key or spool_id)[:16]
        spool = Spool(spool_folder() / f"{self.name}-{key}-{spool_id[:16]}{SUFFIX}")
        spool.append(
            {
                "kind": "run",
                "name": self.name,
                "start": _now(),
                "tags": {**self._tags, SPOOL_TAG: spool_id},
                "data_set": None if self._data_set is None else asdict(self._data_set),
            }
        )
        return spool

    def _give_up(self, error: Exception) -> None:
        self._broken = True
        self._spool = None
        warn(f"{self.name}: records for MLflow are lost, they cannot be kept ({one_line(error)})")


def _now() -> int:
    """Return the time in milliseconds, as MLflow expects it."""
    return int(time.time() * 1000)
