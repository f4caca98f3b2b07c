"""Checkpoints on disk: what is kept, what is refused, and what a full disk leaves."""

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mambatalk.errors import InputError
from mambatalk.training.loop import checkpoints as _checkpoints
from mambatalk.training.loop.checkpoints import PARTIAL, Checkpoints, Content, Position


def content(value: int) -> Callable[[], Content]:
    return lambda: {"value": value, "tensor": torch.full((5000,), value)}


def write(folder: Path, *values: int) -> list[Path]:
    """Write a checkpoint for each value, at the epoch of that number; return the files left."""
    with Checkpoints(folder, seconds=0) as checkpoints:
        for value in values:
            checkpoints.save(Position(value, 0), content(value))
    return sorted(folder.iterdir())


def read(folder: Path) -> int | None:
    with Checkpoints(folder, seconds=0) as checkpoints:
        found = checkpoints.newest()
    return found and found[1]["value"]


def test_an_empty_folder_has_no_checkpoint(tmp_path: Path) -> None:
    assert read(tmp_path / "new") is None
    assert Checkpoints(None, seconds=0).newest() is None


def test_the_two_newest_are_kept(tmp_path: Path) -> None:
    files = write(tmp_path, 9, 10, 11)
    assert [path.name[:21] for path in files] == ["state-000010-00000000", "state-000011-00000000"]
    assert read(tmp_path) == 11


def test_steps_within_an_epoch_are_in_order(tmp_path: Path) -> None:
    with Checkpoints(tmp_path, seconds=0) as checkpoints:
        for number in (9, 10, 11):
            checkpoints.save(Position(0, number), content(number))
    assert read(tmp_path) == 11


def cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip_one_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [cut_short, flip_one_bit, lambda path: path.write_bytes(b"")])
def test_a_damaged_checkpoint_is_replaced_by_the_one_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    _, last = write(tmp_path, 1, 2)
    damage(last)
    with caplog.at_level(logging.WARNING):
        assert read(tmp_path) == 1
    assert caplog.messages == [
        f"{last}: deleted this damaged checkpoint; looking for the one before it"
    ]
    # The one that was used is not deleted as the oldest of three when it goes on.
    assert [path.name[:12] for path in write(tmp_path, 2)] == ["state-000001", "state-000002"]


def test_a_file_that_was_being_written_is_not_a_checkpoint(tmp_path: Path) -> None:
    (written,) = write(tmp_path, 1)
    (tmp_path / PARTIAL).write_bytes(written.read_bytes()[:-10])
    assert read(tmp_path) == 1
    assert list(tmp_path.iterdir()) == [written]


def fill_disk(folder: Path) -> None:
    """Let the next write of a checkpoint fail as on a full disk."""
    (folder / PARTIAL).symlink_to("/dev/full")


def test_a_full_disk_is_one_clear_error_and_the_last_checkpoint_stays(tmp_path: Path) -> None:
    (before,) = write(tmp_path, 1)
    checkpoints = Checkpoints(tmp_path, seconds=0)
    fill_disk(tmp_path)
    checkpoints.save(Position(2, 0), content(2))
    with pytest.raises(InputError, match="expected free disk space, found a full disk"):
        checkpoints.wait()
    assert list(tmp_path.iterdir()) == [before]
    assert read(tmp_path) == 1


def test_a_failed_write_stops_the_training_between_two_steps(tmp_path: Path) -> None:
    def steps() -> None:
        with Checkpoints(tmp_path, seconds=3600) as checkpoints:
            fill_disk(tmp_path)
            checkpoints.save(Position(0, 1), content(1))
            while not checkpoints.due():
                pass

    with pytest.raises(InputError, match="full disk"):
        steps()


def test_an_error_of_the_training_comes_before_one_of_its_last_write(tmp_path: Path) -> None:
    def steps() -> None:
        with Checkpoints(tmp_path, seconds=0) as checkpoints:
            fill_disk(tmp_path)
            checkpoints.save(Position(0, 1), content(1))
            raise FloatingPointError("nan")

    with pytest.raises(FloatingPointError, match="nan"):
        steps()


def test_the_training_goes_on_during_a_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the state as it was when the write began is what is written."""
    may_write = threading.Event()
    write_file = _checkpoints._write

    def slow(folder: Path, position: Position, content: Content) -> None:
        assert may_write.wait(60)
        write_file(folder, position, content)

    monkeypatch.setattr(_checkpoints, "_write", slow)
    with Checkpoints(tmp_path, seconds=0) as checkpoints:
        checkpoints.save(Position(1, 0), content(1))
        assert list(tmp_path.iterdir()) == []
        may_write.set()
    assert read(tmp_path) == 1


def test_a_folder_that_cannot_be_written_is_found_before_the_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file.*: expected a writable folder"):
        Checkpoints(tmp_path / "file" / "scratch", seconds=300)
