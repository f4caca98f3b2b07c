"""A stage runs anywhere in the same way, and continues from its checkpoint after it was killed."""

import json
import os
import sys
from pathlib import Path

import pytest

from tests.pipeline.workspace import Workspace, mini_project

GRAPH = """
stages:
  train:
    cmd: exec python -m mini
    deps: [mini.py]
    params: [seed]
    outs: [models/fgd]
"""
# In place of a training: it is stopped after its first checkpoint, and finishes in the second run.
STAGE = """
import os, signal, sys, time
from pathlib import Path
from mambatalk.files import cache_folder
from tasks.runtime.stage import execute

def run(context):
    checkpoint = context.scratch / "checkpoint"
    if not checkpoint.exists():
        context.scratch.mkdir(parents=True)
        checkpoint.write_text("first half")
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
    (cache_folder() / "decoded").mkdir(parents=True)
    context.paths.fgd.mkdir(parents=True)
    (context.paths.fgd / "weights").write_text(checkpoint.read_text() + f", {context.config.seed}")

sys.exit(execute("train", run, sys.argv[1] if len(sys.argv) > 1 else "."))
"""
STATUS = "runs/train/status.json"


@pytest.fixture
def project(tmp_path: Path) -> Workspace:
    return mini_project(tmp_path, GRAPH, STAGE)


def scratch_folders(project: Workspace) -> list[Path]:
    return [path for path in (project.root / "runs" / "train").iterdir() if path.is_dir()]


def test_a_killed_stage_continues_from_its_checkpoint(project: Workspace) -> None:
    assert project.dvc("repro").returncode != 0
    status = json.loads(project.read(STATUS))
    assert (status["state"], status["kind"]) == ("failed", "interrupted")
    (folder,) = scratch_folders(project)
    assert folder.name == status["fingerprint"]

    done = project.dvc("repro")
    assert done.returncode == 0, done.stderr
    assert project.read("models/fgd/weights") == b"first half, 2021"
    assert scratch_folders(project) == [], "a finished stage keeps no checkpoint"


def test_a_changed_parameter_starts_from_the_beginning(project: Workspace) -> None:
    project.dvc("repro")
    project.set_params(seed=7)
    assert project.dvc("repro").returncode != 0, "the checkpoint of another seed is not used"
    assert len(scratch_folders(project)) == 2


def test_a_stage_needs_no_working_directory(project: Workspace, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    path = f"{project.root}{os.pathsep}{project.env['PYTHONPATH']}"
    command = f"cd {elsewhere} && exec {sys.executable} -m mini {project.root}"
    for code in (143, 0):
        done = project.run("sh", "-c", command, PYTHONPATH=path)
        assert done.returncode == code, done.stderr
    assert project.read("models/fgd/weights") == b"first half, 2021"
    assert list(elsewhere.iterdir()) == []
    assert (project.root / "runs/cache/decoded").is_dir()


@pytest.mark.parametrize("remote", [False, True])
def test_a_build_gives_the_advice_to_push_only_where_there_is_a_remote(
    tmp_path: Path, remote: bool
) -> None:
    workspace = mini_project(
        tmp_path, "stages: {one: {cmd: echo hello > one, outs: [one]}}", "pass"
    )
    if remote:
        workspace.dvc("remote", "add", "--default", "store", str(tmp_path / "store"))
    done = workspace.run(sys.executable, "-m", "tasks.tools.repro")
    assert done.returncode == 0, done.stderr
    assert "Running stage 'one'" in done.stdout
    assert ("dvc push" in done.stdout) == remote
