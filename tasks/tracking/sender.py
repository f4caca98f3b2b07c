"""Send the records of spools to MLflow: in the background of a stage, or all that were left behind.

Kinds of records:

- run: "name", "start" (ms), "tags", "data_set"; the first record
- resume: the stage was interrupted and continues
- params: "values"
- tag: "key", "value"
- metrics: "points", each key, value, time (ms), step
- artifact: "path" of a file or a folder
- end: "status", "time" (ms); the last record, unless a resume follows
"""

import re
import sys
import threading
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tasks.tracking.data_set import DataSet
from tasks.tracking.spool import Record, Spool, SpoolInUseError, waiting_spools
from tasks.tracking.store import connect

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

POINTS: Final = 1000
"""Points of one request, the most that MLflow accepts."""
PARAMS: Final = 100
"""Parameters of one request, likewise."""
SEND_SECONDS: Final = 10.0
"""Time between two requests of a stage."""
RETRY_SECONDS: Final = 30.0
SPOOL_TAG: Final = "spool"
"""Tag of a run with the id of its spool, by which a run is found that was created before a kill."""


class Sender:
    """A thread that sends the records of one spool while they are written.

    Args:
        spool: The spool, held by this process.
        name: Name of the stage in warnings.

    """

    def __init__(self, spool: Spool, name: str) -> None:
        self.spool = spool
        self.name = name
        self.failing = False
        self._wake = threading.Event()
        self._attempts = threading.Condition()
        self._started = 0
        self._finished = 0
        self._closed = False
        self._swept = False
        # A daemon, because it may wait for a server that does not answer when the stage has ended.
        self._thread = threading.Thread(target=self._run, name="mlflow-sender", daemon=True)
        self._thread.start()

    def flush(self, timeout: float) -> bool:
        """Send all records that have been written; return whether MLflow has them.

        One attempt is made, even if the last one failed a moment ago.

        Args:
            timeout: Seconds to wait.

        """
        with self._attempts:
            # An attempt that is under way may have read the spool before the last record.
            wanted = self._started + 1
            self._wake.set()
            done = self._attempts.wait_for(lambda: self._finished >= wanted, timeout)
            return done and not self.failing

    def close(self) -> None:
        """Make no further attempt."""
        self._closed = True
        self._wake.set()

    def _run(self) -> None:
        while not self._closed:
            with self._attempts:
                self._started += 1
                self._wake.clear()
            self._attempt()
            with self._attempts:
                self._finished = self._started
                self._attempts.notify_all()
            self._wake.wait(RETRY_SECONDS if self.failing else SEND_SECONDS)

    def _attempt(self) -> None:
        try:
            send(self.spool)
            self.failing = False
            if not self._swept:
                self._swept = True
                send_leftovers()
        except Exception as error:
            if not self.failing:
                warn(f"{self.name}: MLflow fails ({one_line(error)}); continuing without it")
            self.failing = True


def send(spool: Spool) -> None:
    """Send what MLflow does not have yet.

    A record that MLflow refuses for its content (a name that is not allowed, a run that was
    deleted) is skipped with a warning, because it would be refused again.

    Raises:
        Exception: The store does not answer; all records that it has are noted.

    """
    from mlflow.exceptions import MlflowException

    while waiting := spool.unsent():
        client, experiment = connect()
        for records, offset in _batches(waiting):
            try:
                _send(client, experiment, spool, records)
            except MlflowException as error:
                if records[0]["kind"] == "run" or not _is_refusal(error):
                    raise
                warn(f"{spool.path.name}: MLflow refuses a record ({one_line(error)})")
            spool.note_sent(offset)


def send_leftovers() -> list[Path]:
    """Send the spools of all stages that have ended; return those that are left or in use.

    Raises:
        Exception: The store does not answer.

    """
    for path in waiting_spools():
        try:
            spool = Spool(path)
        except SpoolInUseError:
            continue
        try:
            send(spool)
        finally:
            # The spool of an interrupted stage is kept: it continues when the stage does.
            sent_all = spool.sent.offset == path.stat().st_size
            spool.close(delete=sent_all and has_ended(spool))
    return waiting_spools()


def has_ended(spool: Spool) -> bool:
    """Return whether nothing will follow: the stage succeeded or failed, or has no record."""
    last: Record = {"kind": "end", "status": "FINISHED"}
    for record, _ in spool.records():
        last = record
    return last["kind"] == "end" and last["status"] != "KILLED"


def _is_refusal(error: "MlflowException") -> bool:
    status = error.get_http_status_code()  # type: ignore[no-untyped-call]
    return status in (400, 409) or error.error_code == "RESOURCE_DOES_NOT_EXIST"


def _batches(waiting: Sequence[tuple[Record, int]]) -> list[tuple[list[Record], int]]:
    """Group consecutive records of points into requests; the others are alone."""
    batches: list[tuple[list[Record], int]] = []
    points = 0
    for record, offset in waiting:
        count = len(record.get("points", ()))
        if count and points and points + count <= POINTS:
            batches[-1] = ([*batches[-1][0], record], offset)
            points += count
        else:
            batches.append(([record], offset))
            points = count
    return batches


def _send(client: "MlflowClient", experiment: str, spool: Spool, records: list[Record]) -> None:
    from mlflow.entities import Metric, Param

    first = records[0]
    kind = first["kind"]
    if kind == "run":
        spool.note_run(_find_or_create(client, experiment, first))
        return
    run = spool.sent.run_id
    assert run is not None, "a spool begins with its run"
    if kind == "resume":
        client.update_run(run, status="RUNNING")
    elif kind == "params":
        params = [Param(key, value) for key, value in first["values"].items()]
        for start in range(0, len(params), PARAMS):
            client.log_batch(run, params=params[start : start + PARAMS])
    elif kind == "tag":
        client.set_tag(run, first["key"], first["value"])
    elif kind == "metrics":
        points = [Metric(*point) for record in records for point in record["points"]]
        for start in range(0, len(points), POINTS):
            client.log_batch(run, metrics=points[start : start + POINTS])
    elif kind == "artifact":
        _send_artifact(client, run, Path(first["path"]))
    else:
        client.set_terminated(run, first["status"], end_time=first["time"])


def _find_or_create(client: "MlflowClient", experiment: str, record: Record) -> str:
    """Return the run of a spool; it exists already if the process that created it was killed."""
    spool_id = record["tags"][SPOOL_TAG]
    found = client.search_runs([experiment], f"tags.{SPOOL_TAG} = '{spool_id}'", max_results=1)
    if found:
        run_id: str = found[0].info.run_id
    else:
        run_id = client.create_run(
            experiment, record["start"], record["tags"], record["name"]
        ).info.run_id
    if record["data_set"]:
        data_set = DataSet(**record["data_set"])
        client.log_inputs(run_id, [data_set.as_input(record["name"])])
    return run_id


def _send_artifact(client: "MlflowClient", run: str, path: Path) -> None:
    if path.is_dir():
        client.log_artifacts(run, str(path), path.name)
    elif path.exists():
        client.log_artifact(run, str(path))
    else:
        warn(f"{path}: gone before it was sent to MLflow")


def new_spool_id() -> str:
    """Return an id for a new spool."""
    return uuid.uuid4().hex


def one_line(error: Exception) -> str:
    """Return the start of an error's message without line breaks and without passwords."""
    text = " ".join(str(error).split())
    return without_password(text)[:200]


def without_password(text: str) -> str:
    """Return a text whose addresses have lost the user and password before the host."""
    return re.sub(r"//[^/@\s]*@", "//", text)


def warn(text: str) -> None:
    """Write a warning to standard error."""
    sys.stderr.write(f"warning: {text}\n")
