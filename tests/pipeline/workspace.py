"""Repositories for pipeline tests, with their own DVC cache and MLflow store."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
COPIED = (
    "mambatalk",
    "tasks",
    "infra/profiles",
    ".dvc/config",
    ".dvcignore",
    ".gitignore",
    "data/decisions.csv",
    "dvc.yaml",
    "params.yaml",
    "pyproject.toml",
)


@dataclass(frozen=True)
class Workspace:
    """A repository, and the environment that keeps the state of every tool beside it."""

    root: Path
    env: dict[str, str]

    def run(
        self, *command: str, timeout: float = 900, **env: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.root,
            env={**self.env, **env},
            timeout=timeout,
            check=False,
            capture_output=True,
            text=True,
        )

    def dvc(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        return self.run("dvc", *arguments, **env)

    def stage(self, module: str, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", f"tasks.{module}", *arguments, **env)

    def set_params(self, **changes: Any) -> None:
        """Change values of `params.yaml`; a key has `__` in place of each dot."""
        path = self.root / "params.yaml"
        yaml = YAML()
        values = yaml.load(path)
        for key, value in changes.items():
            node, *rest = values, *key.split("__")
            for word in rest[:-1]:
                node = node[word]
            node[rest[-1]] = value
        yaml.dump(values, path)

    def git(self, *arguments: str) -> None:
        subprocess.run(
            ["git", "-c", "user.name=test", "-c", "user.email=test@localhost", *arguments],
            cwd=self.root,
            check=True,
            capture_output=True,
        )

    def read(self, path: str) -> bytes:
        return (self.root / path).read_bytes()


def mini_project(folder: Path, graph: str, module: str) -> Workspace:
    """Create a repository of small stages that run as those of the pipeline do.

    Args:
        folder: Folder for the repository and for the state of all tools.
        graph: Content of `dvc.yaml`.
        module: Content of `mini.py`, which the commands of the stages run.

    """
    root = folder / "mini"
    root.mkdir()
    (root / "dvc.yaml").write_text(graph)
    (root / "mini.py").write_text(module)
    (root / "params.yaml").write_bytes((ROOT / "infra" / "profiles" / "sample.yaml").read_bytes())
    workspace = Workspace(root, {**environment(folder), "PYTHONPATH": str(ROOT)})
    workspace.git("init", "--quiet")
    assert workspace.dvc("init", "--quiet").returncode == 0
    workspace.git("add", "--all")
    workspace.git("commit", "--quiet", "-m", "mini")
    return workspace


def environment(folder: Path) -> dict[str, str]:
    """Return an environment that keeps the state and caches of DVC and MLflow in a folder."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("MLFLOW_", "MAMBATALK_", "DVC_"))
        and key != "PYTHONDONTWRITEBYTECODE"
    }
    return {
        # A shell that does not replace itself with its last command: without `exec` in the
        # command of a stage, it stays between DVC and the stage.
        **kept,
        "SHELL": "/bin/sh",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "MAMBATALK_HOME": str(folder / "home"),
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(folder / "site"),
        "DVC_GLOBAL_CONFIG_DIR": str(folder / "global"),
        "DVC_SYSTEM_CONFIG_DIR": str(folder / "system"),
    }


def checkout(folder: Path, *, profile: str = "tiny") -> Workspace:
    """Copy the pipeline of the working tree, with uncommitted changes, to a new git repository."""
    # Copies take along what numba has compiled, so it compiles here, once for all of them.
    from mambatalk.models.mamba.compiled.load import is_available

    is_available()
    root = folder / "checkout"
    for name in COPIED:
        source, target = ROOT / name, root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy(source, target)
    shutil.copy(ROOT / "infra" / "profiles" / f"{profile}.yaml", root / "params.yaml")
    workspace = Workspace(root, environment(folder))
    (root / ".dvc" / ".gitignore").write_text("/config.local\n/tmp\n/cache\n")
    workspace.git("init", "--quiet")
    workspace.git("add", "--all")
    workspace.git("commit", "--quiet", "-m", "pipeline")
    return workspace
