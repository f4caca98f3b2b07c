"""A project of three stages whose training takes as long as a case needs, with a DVC remote."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML

from flows.workspace import Workspace
from flows.worktrees import git

STAGES = ("check", "train", "evaluate")

DVC_YAML = """
stages:
  check:
    cmd: exec python stage.py check out/checked
    deps: [stage.py]
    params: [word]
    outs: [out/checked]
  train:
    cmd: exec python stage.py train out/model
    deps: [out/checked]
    params: [word, steps, obeys]
    outs: [out/model]
  evaluate:
    cmd: exec python stage.py evaluate out/result
    deps: [out/model]
    params: [word]
    outs: [out/result]
    metrics:
      - score.json: {cache: false}
"""

STAGE_PY = '''
"""Check a word, "train" on it in steps of a tenth of a second with checkpoints, and score it."""

import json
import os
import pathlib
import signal
import sys
import time

name, out = sys.argv[1:]
runs = pathlib.Path("runs", name)
runs.mkdir(parents=True, exist_ok=True)
values = dict(line.split(": ") for line in pathlib.Path("params.yaml").read_text().splitlines())


def write_status(state, kind=None, message=None):
    status = {"stage": name, "state": state, "kind": kind, "message": message}
    (runs / "status.json").write_text(json.dumps(status))


def train():
    """Take steps; the log has a line for every start and for every end."""
    steps = runs / "steps"
    log = (runs / "log").open("a", buffering=1)
    stopped = []
    handler = (lambda *_: stopped.append(1)) if values["obeys"] == "true" else signal.SIG_IGN
    signal.signal(signal.SIGTERM, handler)
    done = int(steps.read_text()) if steps.exists() else 0
    print(f"start {os.getpid()} at {done}", file=log)
    print(f"training from step {done}", flush=True)
    while done < int(values["steps"]) and not stopped:
        time.sleep(0.1)
        done += 1
        steps.with_suffix(".new").write_text(str(done))
        steps.with_suffix(".new").replace(steps)
    print(f"end {os.getpid()} at {done}", file=log)
    if stopped:
        write_status("failed", "interrupted", "stopped by SIGTERM")
        sys.exit(143)
    steps.unlink(missing_ok=True)


write_status("running")
if name == "check" and values["word"] == "bad":
    write_status("failed", "data-contract", "1 clip is broken")
    sys.exit(1)
if name == "train":
    train()
if name == "evaluate":
    score = len(values["word"])
    pathlib.Path("score.json").write_text(json.dumps({"score": score}))
pathlib.Path(out).write_text(f"{name} {values['word']}")
write_status("succeeded")
'''


@dataclass(frozen=True)
class Project:
    """A git repository with a DVC remote beside it."""

    workspace: Workspace

    @property
    def root(self) -> Path:
        return self.workspace.root

    @property
    def remote(self) -> Path:
        return self.root.parent / "remote"

    @property
    def scratch(self) -> Path:
        """The training's folder."""
        return self.root / "runs/retrain/scratch/train"

    def log(self) -> list[str]:
        """Return the starts and ends of trainings: "start PID at STEP"."""
        path = self.scratch / "log"
        return path.read_text().splitlines() if path.exists() else []

    def branches(self) -> list[str]:
        names = git(self.root, "for-each-ref", "--format=%(refname:short)", "refs/heads/retrain/")
        return names.splitlines()

    def worktrees(self) -> list[str]:
        """Return the worktrees besides the repository itself, and the folders left of any."""
        registered = git(self.root, "worktree", "list", "--porcelain").split("\n\n")[1:]
        folder = self.root / "runs/retrain/worktrees"
        left = [str(path) for path in folder.iterdir()] if folder.exists() else []
        return [*registered, *left]

    def commit(self, **values: str | int | bool) -> None:
        """Change parameters, and commit them."""
        path = self.root / "params.yaml"
        yaml = YAML()
        yaml.dump({**yaml.load(path), **values}, path)
        git(self.root, "commit", "--quiet", "--all", "--message", f"Set {values}")

    def message(self, branch: str) -> str:
        return git(self.root, "show", "--no-patch", "--format=%B", branch)


def make_project(root: Path, remote: str | None = None) -> Project:
    """Create a project.

    Args:
        root: Its folder, which is created.
        remote: Address of the DVC remote; a folder beside the project if None.

    """
    root.mkdir(parents=True)
    (root / "dvc.yaml").write_text(DVC_YAML)
    (root / "params.yaml").write_text("word: hello\nsteps: 1\nobeys: true\n")
    (root / "stage.py").write_text(STAGE_PY)
    (root / ".gitignore").write_text("/runs\n/out\n")
    git(root, "init", "--quiet", "--initial-branch", "main")
    git(root, "config", "user.name", "test")
    git(root, "config", "user.email", "test@localhost")
    project = Project(Workspace.open(root))
    _dvc(root, "init", "--quiet")
    _dvc(root, "config", "cache.type", "copy")
    _dvc(root, "remote", "add", "--quiet", "--default", "store", remote or str(project.remote))
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "Begin")
    return project


def _dvc(root: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "dvc", *arguments]
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    subprocess.run(command, cwd=root, check=True, env=environment)
