"""A project of three stages whose training takes as long as a case needs, with a DVC remote."""

import os
import shutil
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
    params: [word, steps, obeys, records, hangs_at, megabytes]
    outs: [out/model]
  evaluate:
    cmd: exec python stage.py evaluate out/result
    deps: [out/model]
    params: [word]
    outs: [out/result]
    metrics:
      - score.json: {cache: false}
"""

DEFAULTS: dict[str, str | int | bool] = {
    "word": "hello",
    "steps": 1,
    "obeys": True,
    "records": False,
    "hangs_at": 0,
    "megabytes": 0,
}
"""Parameters; `stage.py` explains them."""


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

    def recorded(self) -> int:
        """Return the last step that a training recorded, 0 if none did."""
        path = self.scratch / "recorded"
        return max(map(int, path.read_text().split())) if path.exists() else 0

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
    YAML().dump(DEFAULTS, root / "params.yaml")
    shutil.copy(Path(__file__).with_name("stage.py"), root)
    return start_project(root, remote)


def start_project(root: Path, remote: str | None = None) -> Project:
    """Put a folder with `dvc.yaml` and `params.yaml` under git and DVC; arguments as above."""
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
