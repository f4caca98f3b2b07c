"""The build flow with Prefect's temporary server, against a server, and from a worker."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from flows.build import build
from flows.stages import StageError
from flows.workspace import Workspace
from tests.flows.servers import query, wait_for
from tests.flows.toy import STAGES, instruct

ROOT = Path(__file__).parents[2]

# What `prefect work-pool create`, `deploy`, `deployment run` and `worker start --run-once` do, in
# one process instead of four.
DEPLOY_AND_WORK = """
import asyncio, sys
from prefect import flow, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.deployments import run_deployment
from prefect.workers.process import ProcessWorker

code, root = sys.argv[1:]
with get_client(sync_client=True) as client:
    client.create_work_pool(WorkPoolCreate(name="toy", type="process"))
deployed = flow.from_source(code, "flows/build.py:build")
deployed.deploy("toy", work_pool_name="toy", parameters={"root": root}, print_next_steps=False)
run_deployment("build/toy", timeout=0)
asyncio.run(ProcessWorker(work_pool_name="toy").start(run_once=True))
"""


def run(toy: Workspace, **parameters: Any) -> dict[str, str]:
    return build(root=str(toy.root), **parameters)


def test_builds_all_and_then_finds_all_up_to_date(prefect: None, toy: Workspace) -> None:
    assert run(toy) == dict.fromkeys(STAGES, "Ran")
    assert run(toy) == dict.fromkeys(STAGES, "Up to date")
    (toy.root / "params.yaml").write_text("word: other\n")
    # The first stage writes the same bytes again, so nothing changes for the stages after it.
    assert run(toy) == {**dict.fromkeys(STAGES, "Up to date"), "first": "Ran"}


def test_targets_are_built_with_their_ancestors_alone(prefect: None, toy: Workspace) -> None:
    assert set(run(toy, targets=["pair@left"])) == {"first", "pair@left"}
    assert not (toy.root / "out/right").exists()


def test_mode_whole_runs_one_repro(prefect: None, toy: Workspace) -> None:
    assert run(toy, mode="whole") == dict.fromkeys(STAGES, "Built")


def test_a_transient_failure_is_retried(prefect: None, toy: Workspace) -> None:
    instruct(toy, "first", "transient")
    assert run(toy)["first"] == "Ran"


def test_a_configuration_error_is_not_retried(prefect: None, toy: Workspace) -> None:
    instruct(toy, "first", "config", "config")
    with pytest.raises(StageError, match="config"):
        run(toy)
    assert (toy.root / "instructions/first").read_text() == "config"
    assert not (toy.root / "out/left").exists()


def test_stages_run_in_parallel_each_on_its_own_gpu(
    prefect: None, toy: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    instruct(toy, "pair@left", "meet pair@right")
    instruct(toy, "pair@right", "meet pair@left")
    assert run(toy)["last"] == "Ran"
    gpus = [(toy.paths.runs / f"pair@{part}/variables").read_text() for part in ("left", "right")]
    assert sorted(gpus) == ["0", "1"]


@contextmanager
def command(toy: Workspace, *arguments: str, **variables: str) -> Iterator["subprocess.Popen[str]"]:
    """`python -m flows.build` for the toy, started in another folder than its root."""
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.build", "--root", str(toy.root), *arguments],
        cwd=toy.root.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_a_killed_build(
    toy: Workspace, tmp_path: Path, number: signal.Signals
) -> None:
    """The stage, DVC and Prefect's temporary server all end."""
    instruct(toy, "first", "hang")
    mark = {"MARK": str(tmp_path)}
    with command(toy, PREFECT_LOGGING_LEVEL="INFO", **mark) as process:
        assert any("hello from first" in line for line in process.stdout or ())
        family = processes_with(f"MARK={tmp_path}")
        # Two of the flow, and its server, launcher, DVC and stage.
        assert len(family) >= 5
        process.send_signal(number)
        process.wait()
    for one in family:
        assert select.select([one], [], [], 60)[0]
        os.close(one)
    assert not processes_with(f"MARK={tmp_path}")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the flow has one process less elsewhere")
@pytest.mark.parametrize(
    ("role", "shell"),
    [
        ("build", "/bin/bash"),
        ("flow", "/bin/sh"),
        ("flows.supervise", "/bin/bash"),
        ("stage.py", "/bin/sh"),
    ],
)
def test_sigint_to_any_process_ends_the_build_for_good(
    server: str, toy: Workspace, role: str, shell: str
) -> None:
    """The stage is not retried, as it is after a kill."""
    instruct(toy, "first", "hang")
    variables = {"PREFECT_API_URL": server, "PREFECT_LOGGING_LEVEL": "INFO", "SHELL": shell}
    with command(toy, **variables) as process:
        assert any("hello from first" in line for line in process.stdout or ())
        build = psutil.Process(process.pid)
        (flow,) = build.children()
        member = {"build": build, "flow": flow}.get(role)
        if member is None:
            member = next(one for one in flow.children(True) if role in " ".join(one.cmdline()))
        member.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "hello from first" not in output
    assert output.count("run the same command again to continue") == 1, output


def test_a_stage_that_removed_a_damaged_file_lets_all_run_again(
    prefect: None, toy: Workspace
) -> None:
    instruct(toy, "last", "damaged")
    assert run(toy) == {**dict.fromkeys(STAGES, "Up to date"), "last": "Ran"}


@pytest.mark.slow
def test_a_lock_with_merge_markers_ends_the_command_with_one_line(toy: Workspace) -> None:
    (toy.root / "dvc.lock").write_text("<<<<<<< HEAD\nschema: '2.0'\n=======\n>>>>>>> other\n")
    with command(toy) as process:
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 2
    (line,) = output.splitlines()
    assert line.startswith("build: the graph failed (config): unable to read: ")
    assert "dvc.lock" in line


def processes_with(variable: str) -> list[int]:
    """Return handles of all processes that have a variable in their environment."""
    handles = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if variable.encode() in path.read_bytes().split(b"\0"):
                handles.append(os.pidfd_open(int(path.parent.name)))
    return handles


@pytest.mark.slow
def test_a_configuration_error_ends_the_command_with_code_2(server: str, toy: Workspace) -> None:
    instruct(toy, "first", "config")
    with command(toy, PREFECT_API_URL=server) as process:
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "build: first failed (config): as instructed" in output.splitlines()


def completed(server: str, what: str) -> list[dict[str, Any]]:
    return [one for one in query(server, what, "build") if one["state_type"] == "COMPLETED"]


@pytest.mark.slow
def test_a_server_shows_run_and_stages_whether_started_here_or_by_a_worker(
    server: str, toy: Workspace, tmp_path: Path
) -> None:
    with command(toy, PREFECT_API_URL=server) as process:
        assert process.wait(timeout=120) == 0
    # The server stores task runs from events, a moment after the run has ended.
    tasks = wait_for(lambda: completed(server, "task_runs"), 4)
    assert {(one["name"], one["state_name"]) for one in tasks} == {(name, "Ran") for name in STAGES}
    assert len(wait_for(lambda: completed(server, "flow_runs"), 1)) == 1
    artifacts = {one["key"]: one["data"] for one in query(server, "artifacts")}
    assert "| last | Ran |" in artifacts["build-summary"]

    # The same flow, deployed to a work pool and run by a worker in another folder.
    (toy.root / "params.yaml").write_text("word: other\n")
    done = subprocess.run(
        [sys.executable, "-c", DEPLOY_AND_WORK, str(ROOT), str(toy.root)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PREFECT_API_URL": server},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert len(wait_for(lambda: completed(server, "flow_runs"), 2)) == 2
    tasks = wait_for(lambda: completed(server, "task_runs"), 8)
    assert sorted(one["state_name"] for one in tasks) == ["Ran"] * 5 + ["Up to date"] * 3
