"""One MLflow run for a whole build: the parent of the runs of its stages.

It holds what two builds are compared by: the headline metrics, every parameter, the losses of all
trainings, and a link to the report. It is written again from the runs of the stages, which are
found by their fingerprints, so that no stage depends on it.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mambatalk.files import digest
from tasks.runtime.view import locked_fingerprints
from tasks.tracking.recorder import PARENT_TAG, Recorder
from tasks.tracking.sender import POINTS, one_line
from tasks.tracking.store import connect, flat

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

CURVES: Final = ("train/loss", "val/loss")
"""Curves of the trainings that the run of a build repeats."""
_NOTE: Final = "mlflow.note.content"
_SHARED_TAGS: Final = (
    "git_commit",
    "git_dirty",
    "snapshot_digest",
    "seed",
    "processor",
    "dvc_experiment",
)
"""Tags of stages that the run of a build repeats."""


@dataclass(frozen=True)
class Headline:
    """What the run of a build says of the result."""

    metrics: Mapping[str, Any] = field(default_factory=dict)
    """Metrics by name; those without a value are skipped."""
    description: str = ""
    """Markdown."""


def join_runs(
    stages: Sequence[str],
    *,
    recorder: Recorder | None = None,
    root: Path = Path(),
    headline: Headline | None = None,
) -> str | None:
    """Gather the newest run of every stage under one parent run.

    The run of a stage that DVC skipped is found by the fingerprint in `dvc.lock`. The parent names
    each run in a tag `run.STAGE`, and each run names the newest parent it belongs to, so that a run
    shared by two builds is found from both. The same set of runs always has the same parent.

    Args:
        stages: Names of the stages, "train_vq@face" for one of a matrix.
        recorder: The run of the stage that joins; it has no entry in `dvc.lock` yet. Its artifact
            `index.html` is the report.
        root: Folder of `dvc.lock`.
        headline: Recorded with a new parent.

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
        parent = _parent(client, experiment, runs, locked, headline or Headline())
        if recorder and recorder.flush() and recorder.run_id:
            client.set_tag(recorder.run_id, PARENT_TAG, parent)
            client.set_tag(parent, f"run.{recorder.name}", recorder.run_id)
            report = f"#/experiments/{experiment}/runs/{recorder.run_id}/artifacts/index.html"
            report += "?workflowType=machine_learning"
            description = headline.description if headline else ""
            client.set_tag(parent, _NOTE, f"{description}\n\n[Report of this build]({report})")
        return parent
    except (MlflowException, SQLAlchemyError, OSError) as error:
        sys.stderr.write(f"warning: the runs were not joined: MLflow fails ({one_line(error)})\n")
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
    client: "MlflowClient",
    experiment: str,
    runs: Mapping[str, "Run"],
    locked: Mapping[str, str],
    headline: Headline,
) -> str:
    """Return the id of the parent of a set of runs, which is created if it is new."""
    pipeline = digest({stage: run.info.run_id for stage, run in runs.items()})
    found = client.search_runs(
        [experiment], f"tags.pipeline_fingerprint = '{pipeline}'", max_results=1
    )
    if found and found[0].info.status == "FINISHED":
        return found[0].info.run_id

    # A parent that is not finished is left over from a failure in the lines below; complete it.
    end = max((run.info.end_time for run in runs.values()), default=0)
    parent = found[0] if found else _create(client, experiment, runs, locked, pipeline, end)
    parent_id: str = parent.info.run_id
    _record_build(client, parent_id, runs, headline, end)
    for run in runs.values():
        client.set_tag(run.info.run_id, PARENT_TAG, parent_id)
    client.set_terminated(parent_id, end_time=end)
    return parent_id


def _create(
    client: "MlflowClient",
    experiment: str,
    runs: Mapping[str, "Run"],
    locked: Mapping[str, str],
    fingerprint: str,
    end: int,
) -> "Run":
    """Create the run of a build, which ended at a time in milliseconds."""
    shared = {
        key: value
        for run in runs.values()
        for key, value in run.data.tags.items()
        if key in _SHARED_TAGS
    }
    tags = {
        **shared,
        "mlflow.source.name": "dvc repro",
        "stage": "pipeline",
        "pipeline_fingerprint": fingerprint,
        "dvc_lock_digest": digest(dict(locked)),
        **{f"run.{stage}": run.info.run_id for stage, run in runs.items()},
    }
    # The interface shows the time that all stages took, as if they had run one after the other:
    # those that DVC skipped may be days older than the others.
    milliseconds = sum(run.info.end_time - run.info.start_time for run in runs.values())
    name = f"pipeline {datetime.fromtimestamp(end / 1000, UTC):%Y-%m-%d %H:%M} UTC"
    return client.create_run(experiment, start_time=end - milliseconds, tags=tags, run_name=name)


def _record_build(
    client: "MlflowClient",
    parent: str,
    runs: Mapping[str, "Run"],
    headline: Headline,
    time: int,
) -> None:
    """Record data sets, models, parameters, headline metrics and curves in the run of a build."""
    from mlflow.entities import LoggedModelOutput, Metric, Param

    data_sets = {
        given.dataset.digest: given
        for run in runs.values()
        if run.inputs
        for given in run.inputs.dataset_inputs
    }
    client.log_inputs(parent, list(data_sets.values()))
    outputs = runs["bundle"].outputs if "bundle" in runs else None
    models = outputs.model_outputs if outputs else []
    client.log_outputs(parent, [LoggedModelOutput(model.model_id, 0) for model in models])

    params = {key: value for run in runs.values() for key, value in run.data.params.items()}
    client.log_batch(parent, params=[Param(key, value) for key, value in params.items()])

    linked: dict[str, str] = {}
    if models and data_sets:
        data_set = next(iter(data_sets.values())).dataset
        linked = {
            "model_id": models[0].model_id,
            "dataset_name": data_set.name,
            "dataset_digest": data_set.digest,
        }
    metrics = [
        Metric(key, float(value), time, 0, **linked)
        for key, value in flat(headline.metrics).items()
        if isinstance(value, int | float)
    ]
    metrics += _curves(client, runs)
    for start in range(0, len(metrics), POINTS):
        client.log_batch(parent, metrics=metrics[start : start + POINTS])


def _curves(client: "MlflowClient", runs: Mapping[str, "Run"]) -> Iterator["Metric"]:
    """Yield the losses of all trainings under the names of their stages."""
    from mlflow.entities import Metric

    for stage, run in runs.items():
        for key in CURVES:
            if key in run.data.metrics:
                # Charts are grouped by the name before the last slash: one group for a network.
                name = f"{stage.replace('@', '/')}/{key.replace('/', ' ')}"
                for point in client.get_metric_history(run.info.run_id, key):
                    yield Metric(name, point.value, point.timestamp, point.step)
