"""DVC as the launchers run it, after a DVC that was killed while it wrote its lock file."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest
from dvc.lock import make_lock
from dvc.rwlock import RWLOCK_FILE, RWLOCK_LOCK
from ruamel.yaml.representer import RepresenterError

from tasks.runtime.dvc_command import modify_yaml_whole, remove_cut_locks

ROOT = Path(__file__).parents[3]
CUT = ("", '{"write": {"/a/b": {"pid"')


def dvc(*arguments: str, folder: Path) -> int:
    """Run a DVC command in a folder as the launchers do, and return its exit code."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(folder / "site"),
    }
    command = [sys.executable, "-m", "tasks.runtime.dvc_command", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, check=False).returncode


@pytest.mark.parametrize("content", CUT)
def test_a_lock_file_that_was_cut_short_is_removed_with_a_line(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / RWLOCK_FILE
    path.write_text(content)
    remove_cut_locks(tmp_path)
    assert not path.exists()
    assert "a killed build had left cut short" in capsys.readouterr().err


def test_a_whole_lock_file_is_kept(tmp_path: Path) -> None:
    content = json.dumps({"write": {"/a/b": {"pid": 1, "cmd": "repro"}}})
    (tmp_path / RWLOCK_FILE).write_text(content)
    remove_cut_locks(tmp_path)
    assert (tmp_path / RWLOCK_FILE).read_text() == content


def test_a_lock_file_that_is_being_written_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / RWLOCK_FILE
    path.write_text("")
    with make_lock(str(tmp_path / RWLOCK_LOCK), tmp_dir=str(tmp_path)):
        remove_cut_locks(tmp_path)
    assert path.exists()


def test_a_folder_that_cannot_be_written_to_is_left_to_dvc(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **options: object) -> NoReturn:
        raise OSError(errno.EROFS, "Read-only file system")

    (tmp_path / RWLOCK_FILE).write_text("")
    monkeypatch.setattr("dvc.lock.make_lock", refuse)
    remove_cut_locks(tmp_path)
    assert (tmp_path / RWLOCK_FILE).exists()


def test_a_file_is_changed_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "dvc.lock"
    left = tmp_path / ".dvc.lock.abcdefgh.lock"
    left.write_text("of a build that was killed")
    with modify_yaml_whole(str(path)) as data:
        data["stages"] = {"one": 1}
    before = path.read_text()
    assert before == "stages:\n  one: 1\n"
    # It cannot be written, which shows in the middle of the file.
    with pytest.raises(RepresenterError), modify_yaml_whole(str(path)) as data:
        data["stages"]["two"] = object()
    assert path.read_text() == before
    with modify_yaml_whole(str(path)) as data:
        data["stages"]["two"] = 2
    assert path.read_text() == "stages:\n  one: 1\n  two: 2\n"
    assert list(tmp_path.iterdir()) == [path]


def test_dvc_writes_its_lock_that_way(tmp_path: Path) -> None:
    assert dvc("init", "--quiet", "--no-scm", folder=tmp_path) == 0
    (tmp_path / "dvc.yaml").write_text("stages: {one: {cmd: echo 1 > one.txt, outs: [one.txt]}}")
    assert dvc("repro", folder=tmp_path) == 0
    before = (tmp_path / "dvc.lock").stat().st_ino
    assert dvc("repro", "--force", folder=tmp_path) == 0
    assert (tmp_path / "dvc.lock").stat().st_ino != before


def test_a_build_goes_on_after_its_lock_file_was_cut_short(tmp_path: Path) -> None:
    assert dvc("init", "--quiet", "--no-scm", folder=tmp_path) == 0
    (tmp_path / "dvc.yaml").write_text("stages: {one: {cmd: echo 1 > one.txt, outs: [one.txt]}}")
    folder = tmp_path / ".dvc/tmp"
    folder.mkdir(exist_ok=True)
    (folder / RWLOCK_FILE).write_text(CUT[1])
    assert dvc("repro", folder=tmp_path) == 0
    assert (tmp_path / "one.txt").read_text() == "1\n"
