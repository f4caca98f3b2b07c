"""One checkout in which nothing has run, and one that all tests share after a whole cold build."""

from pathlib import Path

import pytest

from tests.pipeline.workspace import Workspace, checkout


@pytest.fixture
def empty(tmp_path: Path) -> Workspace:
    """A checkout on the profile `tiny` in which nothing has run."""
    return checkout(tmp_path)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """One checkout on the profile `tiny` after a whole cold `dvc repro`; tests leave it as they
    found it.
    """
    workspace = checkout(tmp_path_factory.mktemp("built"))
    done = workspace.dvc("repro")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    workspace.git("add", "--all")
    workspace.git("commit", "--quiet", "-m", "built")
    return workspace
