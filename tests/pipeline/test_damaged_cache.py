"""A byte that has changed in DVC's cache is noticed by the stage that reads it, and built again."""

import os
import re
import sys
from pathlib import Path

import pytest

from tests.pipeline.workspace import Workspace, mini_project

GRAPH = """
stages:
  ingest:
    cmd: exec python -m mini ingest
    deps: [mini.py]
    params: [seed]
    outs: [data/clips, data/accepted.json]
  features:
    cmd: exec python -m mini features
    deps: [data/clips, data/accepted.json]
    params: [fidelity]
    outs: [data/features]
"""
STAGES = """
import sys
from tasks.runtime.stage import execute

def ingest(context):
    context.paths.clips.mkdir(parents=True)
    for name in ("one", "two"):
        (context.paths.clips / name).write_text(f"{name}, {context.config.seed}")
    context.paths.accepted.write_text("accepted")

def features(context):
    context.paths.features.mkdir(parents=True)
    texts = [path.read_text() for path in sorted(context.paths.clips.iterdir())]
    texts += [context.paths.accepted.read_text(), context.config.fidelity]
    (context.paths.features / "all").write_text("; ".join(texts))

sys.exit(execute(sys.argv[1], {"ingest": ingest, "features": features}[sys.argv[1]]))
"""


@pytest.fixture
def project(tmp_path: Path) -> Workspace:
    """A project whose first stage has run; the second one has a parameter that changes."""
    project = mini_project(tmp_path, GRAPH, STAGES)
    assert project.dvc("config", "cache.type", "hardlink").returncode == 0
    done = project.dvc("repro")
    assert done.returncode == 0, done.stderr
    project.set_params(fidelity="published")
    return project


def damage(path: Path, *, keep_time: bool) -> None:
    """Change the first byte of a file and so of the cached object that it is a link to."""
    status = path.stat()
    assert status.st_nlink > 1
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.write(b"X")
    path.chmod(status.st_mode)
    if keep_time:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.slow
def test_damaged_objects_are_built_again_with_one_line(project: Workspace) -> None:
    damage(project.root / "data/clips/two", keep_time=True)
    damage(project.root / "data/accepted.json", keep_time=False)
    done = project.run(sys.executable, "-m", "tasks.tools.repro")
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("features: ")]
    assert re.match(r"features: data/\S+ and 1 more: .* removed the file.* build it again$", line)
    assert "Traceback" not in done.stderr
    assert project.read("data/features/all") == b"one, 2021; two, 2021; accepted; published"
    assert "up to date" in project.dvc("status").stdout
