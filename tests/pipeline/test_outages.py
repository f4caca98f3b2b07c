"""MLflow gets every record once, whatever happens to the server or to the stage in between."""

import os
import random
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow.entities import Run

from mambatalk.files import write_json
from tasks.tracking import store as _store
from tasks.tracking.recorder import Recorder
from tasks.tracking.sender import send, send_leftovers
from tasks.tracking.spool import Spool, SpoolInUseError, waiting_spools
from tests.helpers.mlflow_server import Server, mlflow_server
from tests.pipeline.workspace import ROOT, environment


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as server:
        yield server


@pytest.fixture
def server(running: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that is up, with an experiment of its own for each test."""
    monkeypatch.setenv("MAMBATALK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", running.uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", tmp_path.name)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    _store.connect.cache_clear()
    yield running
    _store.connect.cache_clear()


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store without a server."""
    monkeypatch.setenv("MAMBATALK_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    _store.connect.cache_clear()


def the_run() -> Run:
    client, experiment = _store.connect()
    (run,) = client.search_runs([experiment])
    return run


def steps(run: Run, key: str = "loss") -> list[int]:
    client, _ = _store.connect()
    return [point.step for point in client.get_metric_history(run.info.run_id, key)]


def record(recorder: Recorder, numbers: range) -> None:
    for number in numbers:
        recorder.metrics({"loss": 1 / (number + 1)}, step=number)


def test_a_server_that_is_down_at_the_start_in_the_middle_and_at_the_end(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    server.down()
    recorder = Recorder("train_vq@face", {"seed": "7"})
    recorder.params({"lr": 1.0})
    record(recorder, range(10))
    assert not recorder.flush()
    server.up()
    assert recorder.flush()
    assert steps(the_run()) == list(range(10))

    server.down()
    record(recorder, range(10, 20))
    assert not recorder.flush()
    server.up()
    record(recorder, range(20, 30))
    assert recorder.flush()

    server.down()
    record(recorder, range(30, 40))
    recorder.close("FINISHED")
    assert "train_vq@face: 11 records wait for MLflow in" in capsys.readouterr().err

    server.up()
    send_leftovers()
    run = the_run()
    assert steps(run) == list(range(40))
    assert run.info.status == "FINISHED"
    assert (run.data.params, run.data.tags["seed"]) == ({"lr": "1.0"}, "7")
    assert waiting_spools() == []


def test_the_next_stage_sends_what_an_earlier_one_left(server: Server) -> None:
    server.down()
    first = Recorder("first", {})
    record(first, range(5))
    first.close("FINISHED")
    server.up()
    second = Recorder("second", {})
    record(second, range(3))
    # The first attempt sends its own records and then those that are left.
    assert second.flush()
    second.close("FINISHED")
    client, experiment = _store.connect()
    runs = {run.info.run_name: run for run in client.search_runs([experiment])}
    assert {name: steps(run) for name, run in runs.items()} == {
        "first": [*range(5)],
        "second": [*range(3)],
    }
    assert waiting_spools() == []


def test_the_command_sends_what_is_left(server: Server, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tasks.tools.send_records"]

    def send_records() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=ROOT, env={**os.environ}, capture_output=True, text=True, check=False
        )

    server.down()
    recorder = Recorder("train_vq@face", {})
    record(recorder, range(5))
    recorder.close("FINISHED")
    failed = send_records()
    assert failed.returncode == 1
    assert failed.stderr.startswith("MLflow fails (")
    assert failed.stderr.count("\n") == 1
    server.up()
    done = send_records()
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "MLflow has all records"
    assert steps(the_run()) == list(range(5))


@pytest.mark.parametrize("sent", ["nothing", "run", "all"])
def test_what_was_sent_before_a_kill_and_not_noted_is_in_mlflow_once(
    server: Server, tmp_path: Path, sent: str
) -> None:
    recorder = Recorder("train_vq@face", {}, key="a" * 32)
    recorder.params({"lr": 1.0})
    record(recorder, range(10))
    assert recorder.flush()
    recorder.close("KILLED")
    (path,) = waiting_spools()
    noted = {"nothing": {}, "run": {"run_id": the_run().info.run_id}, "all": None}[sent]
    if noted is not None:
        write_json(path.with_suffix(".sent"), noted)
    spool = Spool(path)
    send(spool)
    spool.close()
    run = the_run()
    assert steps(run) == list(range(10))
    assert run.info.status == "KILLED"


def test_an_interrupted_stage_continues_its_run(server: Server) -> None:
    """Its checkpoint is older than its last records, so it records some points a second time."""
    first = Recorder("train_vq@face", {}, key="a" * 32)
    record(first, range(10))
    first.close("KILLED")
    assert the_run().info.status == "KILLED"

    server.down()
    second = Recorder("train_vq@face", {}, key="a" * 32)
    record(second, range(7, 20))
    second.close("KILLED")

    server.up()
    third = Recorder("train_vq@face", {}, key="a" * 32)
    record(third, range(15, 30))
    assert third.flush()
    assert the_run().info.status == "RUNNING"
    third.close("FINISHED")
    assert steps(the_run()) == list(range(30))
    assert the_run().info.status == "FINISHED"


@pytest.mark.parametrize("status", ["FINISHED", "FAILED"])
def test_a_stage_that_has_ended_gets_a_new_run(server: Server, status: str) -> None:
    for _ in range(2):
        recorder = Recorder("train_vq@face", {}, key="a" * 32)
        record(recorder, range(3))
        recorder.close(status)
    client, experiment = _store.connect()
    assert [steps(run) for run in client.search_runs([experiment])] == [[0, 1, 2]] * 2


def test_a_record_that_mlflow_refuses_does_not_hold_up_the_others(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder = Recorder("train_vq@face", {})
    recorder.metrics({"loss[0]": 1.0})
    recorder.tag("seed", "7")
    record(recorder, range(3))
    assert recorder.flush()
    recorder.close("FINISHED")
    assert "MLflow refuses a record" in capsys.readouterr().err
    assert the_run().data.tags["seed"] == "7"


KILLED = """
import sys
from tasks.tracking.recorder import Recorder
from tasks.tracking import sender

# More attempts than in a stage, so that a kill meets them.
sender.SEND_SECONDS = 0.02
first, last = int(sys.argv[1]), int(sys.argv[2])
recorder = Recorder("train_vq@face", {}, key="a" * 32)
recorder.params({"lr": 1.0})
for step in range(first, last):
    recorder.metrics({"loss": 1 / (step + 1)}, step=step)
    print(step, flush=True)
    if step == first + 5:
        recorder.flush()
recorder.close("FINISHED")
"""


@pytest.mark.slow
@pytest.mark.usefixtures("local")
def test_a_stage_that_is_killed_at_random_moments_loses_and_doubles_nothing(
    tmp_path: Path,
) -> None:
    moments = random.Random(5)

    def start(first: int, last: int) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-c", KILLED, str(first), str(last)]
        return subprocess.Popen(
            command, cwd=ROOT, env=environment(tmp_path), stdout=subprocess.PIPE
        )

    reached = 0
    for _ in range(5):
        # From a little before, as from a checkpoint.
        process = start(max(0, reached - 3), 10**9)
        assert process.stdout
        while int(process.stdout.readline()) < reached + 20:
            pass
        select.select([], [], [], moments.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        reached = int(process.stdout.read().split()[-1])
        process.wait()
    last = start(reached - 3, reached + 10)
    last.communicate(timeout=120)
    assert last.returncode == 0
    run = the_run()
    client, _ = _store.connect()
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [point.step for point in history] == list(range(reached + 10))
    assert [point.value for point in history] == [1 / (k + 1) for k in range(reached + 10)]
    assert run.info.status == "FINISHED"
    assert waiting_spools() == []


def test_a_line_that_a_crash_cut_off_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "spool.jsonl"
    spool = Spool(path)
    spool.append({"kind": "run"})
    spool.close()
    with path.open("ab") as file:
        file.write(b'{"kind": "met')
    spool = Spool(path)
    spool.append({"kind": "end"})
    assert [record["kind"] for record, _ in spool.records()] == ["run", "end"]
    spool.close()


def test_a_spool_has_one_holder(tmp_path: Path) -> None:
    path = tmp_path / "spool.jsonl"
    spool = Spool(path)
    with pytest.raises(SpoolInUseError):
        Spool(path)
    spool.close()
    Spool(path).close()


def test_a_home_that_cannot_be_written_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "home").write_text("")
    monkeypatch.setenv("MAMBATALK_HOME", str(tmp_path / "home"))
    recorder = Recorder("train_vq@face", {})
    record(recorder, range(5))
    assert not recorder.flush()
    recorder.close("FINISHED")
    assert capsys.readouterr().err.count("records for MLflow are lost") == 1
