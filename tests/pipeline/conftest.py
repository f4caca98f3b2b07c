"""Fixtures: a checkout in which nothing has run, and a shared one with a complete build."""

from pathlib import Path

import pytest

from tests.pipeline.workspace import Workspace, checkout


@pytest.fixture
def empty(tmp_path: Path) -> Workspace:
    """A checkout on the profile `tiny` in which nothing has run."""
    return checkout(tmp_path)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A checkout with a complete build of the profile `tiny`; tests restore what they change."""
    workspace = checkout(tmp_path_factory.mktemp("built"))
    done = workspace.dvc("repro")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    workspace.git("add", "--all")
    workspace.git("commit", "--quiet", "-m", "built")
    return workspace
