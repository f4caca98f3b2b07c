"""MLflow runs lead from a metric to its origin, survive an outage, and are found for stages that
DVC skipped.
"""

import subprocess
import sys
import time
from pathlib import Path

import mlflow
import pytest

from tasks.tracking import store as _store
from tasks.tracking.data_set import DataSet
from tasks.tracking.pipeline import Headline, join_runs
from tasks.tracking.recorder import Recorder
from tests.pipeline.workspace import ROOT, Workspace, environment, mini_project

MINI = """
stages:
  first:
    cmd: python -m mini first
    deps: [mini.py]
    params: [seed]
    outs: [first.txt]
  second:
    matrix: {part: [face, global]}
    cmd: python -m mini second ${item.part}
    deps: [first.txt]
    params: ['train_vq.${item.part}']
    outs: ['second/${item.part}.txt']
"""
STAGE = """
import sys
from pathlib import Path
from tasks.runtime.stage import execute

stage, part = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None

def work(context):
    config = context.config
    for step in range(3):
        context.recorder.metrics({"loss": 1 / (step + 1)}, step=step)
        context.recorder.metrics({"val/loss": 1 / (step + 1)}, step=step)
    out = Path(f"second/{part}.txt" if part else "first.txt")
    out.parent.mkdir(exist_ok=True)
    out.write_text(str(config.train_vq.global_.layers if part == "global" else 0))
    context.recorder.artifact(out)

sys.exit(execute(f"{stage}@{part}" if part else stage, work))
"""


@pytest.fixture(autouse=True)
def _own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAMBATALK_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    _store.connect.cache_clear()


@pytest.fixture
def mini(tmp_path: Path) -> Workspace:
    """Two small stages, one of them a matrix."""
    return mini_project(tmp_path, MINI, STAGE)


def test_a_run_holds_parameters_curves_and_artefacts(tmp_path: Path) -> None:
    recorder = Recorder("train_vq@face", {"stage": "train_vq@face"})
    recorder.params({"train_vq.upper.lr": 1e-3})
    for step in range(450):
        recorder.metrics(
            {"loss": 1.0 / (step + 1), "nested": {"share": 0.5}, "undefined": None}, step=step
        )
    (tmp_path / "note.txt").write_text("kept")
    recorder.artifact(tmp_path / "note.txt")
    recorder.close("FINISHED")
    client, _ = _store.connect()
    run = client.get_run(recorder.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"train_vq.upper.lr": "0.001"}
    assert set(run.data.metrics) == {"loss", "nested.share"}
    assert [point.step for point in client.get_metric_history(recorder.run_id, "loss")] == list(
        range(450)
    )
    assert [file.path for file in client.list_artifacts(recorder.run_id)] == ["note.txt"]


def test_an_outage_stops_nothing_and_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "away").touch()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/away/mlflow.db")
    recorder = Recorder("train_vq@face", {})
    start = time.monotonic()
    for step in range(2000):
        recorder.metrics({"loss": 1.0}, step=step)
    assert time.monotonic() - start < 20
    recorder.close("FINISHED")
    output = capsys.readouterr().err
    assert output.count("continuing without it") == 1
    assert "train_vq@face: 2002 records wait for MLflow in " in output


def test_records_are_sent_when_an_outage_ends(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "away").touch()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/away/mlflow.db")
    recorder = Recorder("train_vq@face", {})
    recorder.params({"lr": 1.0})
    for step in range(500):
        recorder.metrics({"loss": 1.0}, step=step)
    (tmp_path / "away").unlink()
    recorder.close("FINISHED")
    client, _ = _store.connect()
    assert client.get_run(recorder.run_id).data.params == {"lr": "1.0"}
    assert len(client.get_metric_history(recorder.run_id, "loss")) == 500
    assert "wait for MLflow" not in capsys.readouterr().err


@pytest.mark.slow
def test_five_stages_may_start_at_once_on_an_empty_store(tmp_path: Path) -> None:
    script = (
        "from tasks.tracking.recorder import Recorder\nimport sys\n"
        "r = Recorder(sys.argv[1], {}); r.metrics({'loss': 1.0}); r.close('FINISHED')"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(index)],
            cwd=ROOT,
            env=environment(tmp_path),
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(5)
    ]
    output = [process.communicate(timeout=120)[1] for process in running]
    assert [process.returncode for process in running] == [0] * 5
    assert "".join(output) == ""
    client, experiment = _store.connect()
    assert {run.info.run_name for run in client.search_runs([experiment])} == set("01234")


@pytest.mark.slow
def test_a_skipped_stage_is_found_from_both_pipeline_runs(
    mini: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = ["first", "second@face", "second@global"]
    monkeypatch.chdir(mini.root)
    done = mini.dvc("repro")
    assert done.returncode == 0, done.stderr
    before = join_runs(stages)
    mini.set_params(train_vq__global__layers=2)
    again = mini.dvc("repro")
    assert "second@face' didn't change" in again.stdout + again.stderr
    after = join_runs(stages)
    assert after == join_runs(stages)
    client, _ = _store.connect()
    old, new = (client.get_run(parent).data.tags for parent in (before, after))
    assert new["run.second@face"] == old["run.second@face"]
    assert new["run.second@global"] != old["run.second@global"]
    run = client.get_run(new["run.second@global"])
    assert run.data.params["train_vq.global.layers"] == "2"
    assert run.data.tags["git_commit"] == new["git_commit"]
    assert run.data.tags["seed"] == "2021"
    assert [point.value for point in client.get_metric_history(run.info.run_id, "loss")] == [
        1,
        1 / 2,
        1 / 3,
    ]


@pytest.mark.slow
def test_a_stage_that_reads_past_its_parameters_fails(mini: Workspace) -> None:
    graph = mini.root / "dvc.yaml"
    graph.write_text(
        graph.read_text().replace("params: ['train_vq.${item.part}']", "params: [seed]")
    )
    done = mini.dvc("repro")
    assert done.returncode != 0
    assert "train_vq is read (.global_), but dvc.yaml does not name it" in done.stderr


def test_a_model_is_linked_to_its_last_metrics_and_its_data_set(tmp_path: Path) -> None:
    corpus = DataSet("my corpus", "a" * 36, str(tmp_path))
    recorder = Recorder("train_vq@face", {}, corpus)
    for step, loss in enumerate((2.0, 1.0)):
        recorder.metrics({"val/loss": loss}, step=step)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "one.txt").write_text("1")

    def log(step: int) -> str:
        model = mlflow.pyfunc.log_model(
            name="face",
            step=step,
            loader_module="mlflow.pyfunc.model",
            data_path=str(tmp_path / "weights"),
            pip_requirements=[],
        )
        return str(model.model_id)

    recorder.model(log)
    recorder.close("FINISHED")
    client, _ = _store.connect()
    run = client.get_run(recorder.run_id)
    (given,) = run.inputs.dataset_inputs
    assert (given.dataset.name, given.dataset.digest) == ("my corpus", "a" * 36)
    assert mlflow.data.get_source(given).load() == str(tmp_path)
    (output,) = run.outputs.model_outputs
    (metric,) = client.get_logged_model(output.model_id).metrics
    assert (metric.key, metric.value, metric.dataset_name) == ("val/loss", 1.0, "my corpus")
    assert len(client.get_metric_history(recorder.run_id, "val/loss")) == 2


def test_the_experiment_is_marked_as_machine_learning(tmp_path: Path) -> None:
    client, experiment = _store.connect()
    assert f"experiments/{experiment}/runs?" in str(_store.runs_address(_store.EXPERIMENT))
    assert _store.runs_address("another") is None
    tags = client.get_experiment(experiment).tags
    assert tags["mlflow.experimentKind"] == "custom_model_development"
    client.set_experiment_tag(experiment, "mlflow.note.content", "My own words")
    _store.connect.cache_clear()
    client, experiment = _store.connect()
    assert client.get_experiment(experiment).tags["mlflow.note.content"] == "My own words"


@pytest.mark.slow
def test_a_pipeline_run_can_be_compared_with_another(
    mini: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(mini.root)
    done = mini.dvc("repro")
    assert done.returncode == 0, done.stderr
    recorder = Recorder("report", {})
    (mini.root / "index.html").write_text("report")
    recorder.artifact(mini.root / "index.html")
    headline = Headline({"fgd": 0.5, "srgr": None}, "The model passes all checks")
    stages = ["first", "second@face", "second@global"]
    parent = join_runs(stages, recorder=recorder, headline=headline)
    client, experiment = _store.connect()
    run = client.get_run(parent)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["fgd"] == 0.5
    assert "srgr" not in run.data.metrics
    assert len(client.get_metric_history(parent, "second/face/val loss")) == 3
    assert run.data.params["train_vq.global.layers"] == "4"
    stage_runs = [client.get_run(run.data.tags[f"run.{stage}"]).info for stage in stages]
    seconds = sum(one.end_time - one.start_time for one in stage_runs)
    assert run.info.end_time - run.info.start_time == seconds
    note = run.data.tags["mlflow.note.content"]
    assert note.startswith("The model passes all checks")
    assert f"#/experiments/{experiment}/runs/{recorder.run_id}/artifacts/index.html" in note


KILLED_WHILE_MLFLOW_CREATES_ITS_TABLES = """
import os, signal
from sqlalchemy import Engine, event
from tasks.tracking.store import connect

@event.listens_for(Engine, "before_cursor_execute")
def kill(connection, cursor, statement, *_):
    if "CREATE TABLE jobs" in statement:
        os.kill(os.getpid(), signal.SIGKILL)

connect()
"""


def test_a_database_whose_creation_was_killed_is_made_again(tmp_path: Path) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_WHILE_MLFLOW_CREATES_ITS_TABLES], cwd=ROOT, check=False
    )
    assert killed.returncode == -9
    assert [path.name for path in (tmp_path / "home").glob(".mlflow.db.begun")]
    client, experiment = _store.connect()
    assert client.get_experiment(experiment).name == "mambatalk"
    assert not list((tmp_path / "home").glob(".mlflow.db.begun"))
