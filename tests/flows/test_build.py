"""The build flow with Prefect's own temporary server, and against a server on loopback."""

import os
import select
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from prefect.task_runners import ThreadPoolTaskRunner

from flows.build import build
from flows.dvc import StageError
from tests.flows.servers import ask, wait_for
from tests.flows.toy import order

ROOT = Path(__file__).parents[2]
ALL = {"first", "pair@left", "pair@right", "last"}


def run(toy, slots=1, **parameters):
    return build.with_options(task_runner=ThreadPoolTaskRunner(max_workers=slots))(
        root=str(toy), **parameters
    )


def test_builds_all_and_then_finds_all_up_to_date(prefect, toy):
    assert run(toy) == dict.fromkeys(ALL, "Ran")
    assert run(toy) == dict.fromkeys(ALL, "Up to date")
    (toy / "params.yaml").write_text("word: other\n")
    # The first stage writes the same bytes again, so that DVC sees nothing new below it.
    assert run(toy) == {**dict.fromkeys(ALL, "Up to date"), "first": "Ran"}


def test_targets_bring_their_upstream_and_nothing_else(prefect, toy):
    assert set(run(toy, targets=["pair@left"])) == {"first", "pair@left"}
    assert not (toy / "out/right").exists()


def test_whole_mode_is_one_repro(prefect, toy):
    assert run(toy, mode="whole") == dict.fromkeys(ALL, "Built")


def test_a_transient_failure_is_tried_again(prefect, toy):
    order(toy, "first", "transient")
    assert run(toy)["first"] == "Ran"


def test_a_bad_configuration_is_not_tried_again(prefect, toy):
    order(toy, "first", "config", "config")
    with pytest.raises(StageError, match="config"):
        run(toy)
    assert (toy / "orders/first").read_text() == "config"
    assert not (toy / "out/left").exists()


def test_siblings_run_side_by_side_where_there_is_room(prefect, toy, monkeypatch):
    monkeypatch.setenv("MAMBATALK_SLOTS", "2")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    order(toy, "pair@left", "meet", "pair@right")
    order(toy, "pair@right", "meet", "pair@left")
    assert run(toy, slots=2)["last"] == "Ran"


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_whatever_kills_a_build_nothing_of_it_is_left(toy, tmp_path, number):
    """Neither the stage, nor DVC, nor Prefect's temporary server."""
    order(toy, "first", "hang")
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "MARK": str(tmp_path),
        "PREFECT_LOGGING_LEVEL": "INFO",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.build"],
        cwd=toy,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said = [next(process.stdout)]
    while "hello from first" not in said[-1]:
        said.append(next(process.stdout))
    family = bearing(f"MARK={tmp_path}")
    assert len(family) >= 5  # Two of the flow, its server, launcher, DVC, stage.
    process.send_signal(number)
    process.wait()
    for one in family:
        assert select.select([one], [], [], 60)[0]
        os.close(one)
    assert not bearing(f"MARK={tmp_path}")


def bearing(mark):
    """Handles of all processes with `mark` in their environment."""
    handles = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if mark.encode() in path.read_bytes().split(b"\0"):
                handles.append(os.pidfd_open(int(path.parent.name)))
    return handles


def test_run_and_stages_are_seen_through_a_servers_api(server, toy):
    env = {**os.environ, "PREFECT_API_URL": server, "PYTHONPATH": str(ROOT)}
    subprocess.run(
        [sys.executable, "-m", "flows.build"], cwd=toy, env=env, check=True, capture_output=True
    )
    # The server writes task runs down from events, a moment after the run has ended.
    tasks = wait_for(
        lambda: [
            one for one in ask(server, "task_runs", "build") if one["state_type"] == "COMPLETED"
        ],
        4,
    )
    assert {(one["name"], one["state_name"]) for one in tasks} == {(stage, "Ran") for stage in ALL}
    assert [one["state_type"] for one in ask(server, "flow_runs", "build")] == ["COMPLETED"]
    artifacts = {one["key"]: one["data"] for one in ask(server, "artifacts")}
    assert "| last | Ran |" in artifacts["build-summary"]
