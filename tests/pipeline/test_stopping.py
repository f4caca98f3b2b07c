"""A build ends soon after a signal to any of its processes, and the same command continues it."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from tasks.runtime.stopping import ORPHAN_SECONDS, STOP_SECONDS
from tests.pipeline.workspace import Workspace, mini_project

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="a parent's end is a signal there"),
]

GRAPH = """
stages:
  work:
    cmd: exec python -m mini
    deps: [mini.py]
    outs: [models/fgd]
"""
# The first run does what the file `behaviour` says, and the second one finishes.
STAGE = """
import hashlib, signal, sys, time
from pathlib import Path
from mambatalk.training.loop.signals import HeldSignals
from tasks.runtime.stage import execute

def swallow():
    while True:
        try:
            time.sleep(1)
        except BaseException:
            pass

def unwind_slowly():
    try:
        time.sleep(600)
    finally:
        time.sleep(600)

def swallow_and_train():
    try:
        time.sleep(600)
    except BaseException:
        pass
    with HeldSignals() as signals:
        while True:
            time.sleep(0.01)
            signals.deliver()

def be_about_to_finish():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while not Path("signalled").exists():
        time.sleep(0.01)

BEHAVIOURS = {
    "sleep": lambda: time.sleep(600),
    "compute in one call": lambda: hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1),
    "swallow the exception": swallow,
    "swallow the exception and train": swallow_and_train,
    "unwind slowly": unwind_slowly,
    "be about to finish": be_about_to_finish,
}

def run(context):
    behaviour = Path("behaviour")
    if behaviour.exists():
        word = behaviour.read_text()
        behaviour.unlink()
        print("at work", flush=True)
        BEHAVIOURS[word]()
    context.paths.fgd.mkdir(parents=True)
    (context.paths.fgd / "weights").write_text("finished")

sys.exit(execute("work", run))
"""
CONTINUE = "run the same command again to continue"
ALLOWANCE = 3.0
"""Seconds for the start and end of processes on a machine that is busy with other tests."""
LAUNCHER = [sys.executable, "-m", "tasks.tools.repro"]
DVC = ["dvc", "repro"]


@pytest.fixture
def project(tmp_path: Path) -> Workspace:
    return mini_project(tmp_path, GRAPH, STAGE)


@contextmanager
def running(
    project: Workspace, command: list[str], behaviour: str
) -> Iterator[tuple["subprocess.Popen[str]", dict[str, psutil.Process]]]:
    """Run a command until its stage is at work; yields it and its processes by role."""
    (project.root / "behaviour").write_text(behaviour)
    process = subprocess.Popen(
        command,
        cwd=project.root,
        env=project.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        assert any("at work" in line for line in process.stdout or ())
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(True)]
        roles = {}
        for member in family:
            words = " ".join(member.cmdline())
            for role, module in (("stage", "mini"), ("dvc", "dvc"), ("launcher", "tools.repro")):
                if module in words.split("/")[-1]:
                    roles.setdefault(role, member)
        yield process, roles
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def ended(handle: int, seconds: float) -> bool:
    """Return whether a process, given as a pidfd, ends within some seconds."""
    found = select.select([handle], [], [], seconds)[0]
    os.close(handle)
    return bool(found)


@pytest.mark.parametrize(
    ("role", "number"),
    [
        ("launcher", signal.SIGINT),
        ("dvc", signal.SIGINT),
        ("stage", signal.SIGINT),
        ("all", signal.SIGINT),
        ("launcher", signal.SIGTERM),
        ("dvc", signal.SIGTERM),
    ],
)
def test_a_signal_to_any_process_ends_the_build(
    project: Workspace, role: str, number: signal.Signals
) -> None:
    with running(project, LAUNCHER, "sleep") as (process, roles):
        assert set(roles) == {"launcher", "dvc", "stage"}
        stage = os.pidfd_open(roles["stage"].pid)
        if role == "all":
            os.killpg(process.pid, number)
        else:
            roles[role].send_signal(number)
        output, _ = process.communicate(timeout=STOP_SECONDS + ALLOWANCE)
        assert ended(stage, 0), "the stage outlives the build"
    assert process.returncode == 128 + number
    assert output.count(CONTINUE) == 1, output
    status = json.loads(project.read("runs/work/status.json"))
    assert status["kind"] == ("cancelled" if number == signal.SIGINT else "interrupted")


@pytest.mark.parametrize(
    "behaviour",
    [
        "compute in one call",
        # As a finaliser does: Python ignores what is raised in one.
        "swallow the exception and train",
    ],
)
def test_a_stage_that_does_not_unwind_is_ended(project: Workspace, behaviour: str) -> None:
    with running(project, LAUNCHER, behaviour) as (process, roles):
        roles["stage"].send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=STOP_SECONDS + ALLOWANCE)
    assert process.returncode == 130
    assert output.count(CONTINUE) == 1, output
    assert json.loads(project.read("runs/work/status.json"))["kind"] == "cancelled"


def test_a_stage_that_finishes_is_kept(project: Workspace) -> None:
    """SIGINT comes when the stage ignores it, because it writes its last status."""
    with running(project, LAUNCHER, "be about to finish") as (process, roles):
        roles["dvc"].send_signal(signal.SIGINT)
        (project.root / "signalled").touch()
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert output.count(CONTINUE) == 1, output
    assert "Running stage" not in project.dvc("repro").stdout


@pytest.mark.parametrize(
    ("command", "victim", "behaviour"),
    [
        (DVC, "dvc", "compute in one call"),
        (DVC, "dvc", "swallow the exception"),
        (LAUNCHER, "dvc", "sleep"),
        (LAUNCHER, "launcher", "unwind slowly"),
    ],
)
def test_a_stage_ends_with_its_parent_and_can_start_again(
    project: Workspace, command: list[str], victim: str, behaviour: str
) -> None:
    with running(project, command, behaviour) as (process, roles):
        dvc, stage = (os.pidfd_open(roles[role].pid) for role in ("dvc", "stage"))
        roles[victim].kill()
        # Until its parent has waited for it, a process seems to hold its locks.
        if victim != "dvc" or command == DVC:
            process.wait()
        assert ended(dvc, ALLOWANCE)
        # The rerun does not wait for the stage to end.
        done = project.dvc("repro")
        assert done.returncode == 0, done.stderr
        assert ended(stage, 0)
    assert project.read("models/fgd/weights") == b"finished"


def test_the_stage_of_a_killed_dvc_ends_in_time(project: Workspace) -> None:
    with running(project, DVC, "unwind slowly") as (_, roles):
        stage = os.pidfd_open(roles["stage"].pid)
        roles["dvc"].kill()
        assert ended(stage, ORPHAN_SECONDS + ALLOWANCE)
    assert json.loads(project.read("runs/work/status.json"))["kind"] == "interrupted"


def wait_until(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"


def test_a_stage_ends_with_dvc_while_it_imports(empty: Workspace) -> None:
    """A real stage, whose imports take seconds; DVC is killed the moment the process exists."""
    process = subprocess.Popen(
        DVC,
        cwd=empty.root,
        env=empty.env,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    build = psutil.Process(process.pid)

    def stages() -> list[psutil.Process]:
        found = []
        for member in build.children(recursive=True):
            with suppress(psutil.Error):
                if "tasks.prepare" in member.cmdline():
                    found.append(member)
        return found

    try:
        wait_until(stages)
        (stage,) = stages()
        handle = os.pidfd_open(stage.pid)
        stage.parent().kill()
        assert ended(handle, ALLOWANCE)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert not (empty.root / "data/sample").exists()
    assert not (empty.root / "runs/prepare/status.json").exists(), "it had not begun"
