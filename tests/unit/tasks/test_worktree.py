"""Worktrees for builds beside the checkout."""

from pathlib import Path

import pytest

from mambatalk.errors import InputError
from tasks.runtime.worktree import prepare_worktree


def test_a_folder_outside_git_is_reported_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="expected a git checkout with a commit"):
        prepare_worktree(tmp_path / "worktree")
    assert not list(tmp_path.iterdir())
