"""A checkout of the pipeline, identified by its root folder."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mambatalk.errors import InputError
from tasks.runtime.paths import Paths


@dataclass(frozen=True)
class Workspace:
    """Paths and environment of one checkout; flows never depend on the current directory."""

    root: Path
    """Absolute path of the folder that holds `dvc.yaml` and `params.yaml`."""

    @classmethod
    def open(cls, root: str | Path) -> "Workspace":
        """Resolve a root folder.

        Raises:
            InputError: The folder has no `params.yaml`.

        """
        folder = Path(root).resolve()
        if not (folder / "params.yaml").is_file():
            raise InputError(
                folder,
                "expected a checkout of the pipeline, found no params.yaml",
                "run the command in the repository root, or pass its path as root",
            )
        return cls(folder)

    @property
    def paths(self) -> Paths:
        """The files and folders that stages read and write."""
        return Paths(self.root)

    def environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        """Return the environment for a command in this workspace.

        Args:
            variables: Take precedence over this process's environment.

        Returns:
            This process's environment with the running interpreter first on PATH, so that stages
            run with the same one, and with this copy of `flows` importable.

        """
        interpreter = str(Path(sys.executable).parent)
        code = str(Path(__file__).parents[1])
        environment = {**os.environ, **variables}
        return {
            **environment,
            "DVC_NO_ANALYTICS": "1",
            "PATH": _prepend(interpreter, environment.get("PATH")),
            "PYTHONPATH": _prepend(code, environment.get("PYTHONPATH")),
            "PYTHONUNBUFFERED": "1",
        }


def _prepend(first: str, rest: str | None) -> str:
    return os.pathsep.join(filter(None, (first, rest)))
