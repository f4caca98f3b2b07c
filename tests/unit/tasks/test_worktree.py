"""Worktrees for builds beside the checkout."""

from pathlib import Path

import pytest

from mambatalk.errors import InputError
from tasks.runtime.worktree import prepare_worktree


def test_a_folder_outside_git_is_reported_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"git rev-parse failed \(fatal: not a git repository"):
        prepare_worktree(tmp_path / "worktree")
    assert capfd.readouterr().err == "", "git's own message would be a second line"
    assert not list(tmp_path.iterdir())
