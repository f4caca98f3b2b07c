"""Files are complete or absent, JSON is canonical, and errors about a path name it."""

import errno
import pickle
from contextlib import suppress
from pathlib import Path

import pytest

from mambatalk.errors import InputError
from mambatalk.files import (
    atomic_directory,
    atomic_file,
    digest,
    full_disk_errors,
    load_bytes,
    path_errors,
    read_json,
    remove_partial,
    write_json,
)


def test_an_atomic_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.txt"
    with atomic_file(path) as temporary:
        temporary.write_text("complete")
        assert not path.exists()
    assert path.read_text() == "complete"
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(path.parent.iterdir()) == [path]


def test_what_a_killed_process_leaves_is_deleted_and_nothing_else(tmp_path: Path) -> None:
    kept = [tmp_path / name for name in (".clips.dvc", ".clips2.abcdefgh", "abcdefgh")]
    for path in kept:
        path.write_text("")
    with atomic_directory(tmp_path / "clips") as folder, atomic_file(tmp_path / "a.json") as file:
        (folder / "half").write_text("")
        for name in ("clips", "a.json"):
            remove_partial(tmp_path / name)
        assert not folder.exists()
        assert not file.exists()
        assert sorted(tmp_path.iterdir()) == sorted(kept)
        # The blocks need something to rename.
        folder.mkdir()
        file.touch()


def test_a_failed_atomic_file_keeps_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with suppress(KeyError), atomic_file(path) as temporary:
        temporary.write_text("partial")
        raise KeyError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_atomic_directory_replaces_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    for name in ("old", "new"):
        with atomic_directory(path) as temporary:
            (temporary / name).touch()
    assert [child.name for child in path.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_atomic_directory_keeps_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    (path / "old").touch()
    with suppress(KeyError), atomic_directory(path) as temporary:
        (temporary / "new").touch()
        raise KeyError
    assert [child.name for child in path.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_reported_with_the_free_space(tmp_path: Path, number: int) -> None:
    with (
        pytest.raises(InputError, match=r"file: expected free disk space, .* MiB free"),
        full_disk_errors(tmp_path / "file"),
    ):
        raise OSError(number, "full")


def test_errors_that_may_be_transient_are_not_reported_as_bad_input(tmp_path: Path) -> None:
    with (
        pytest.raises(OSError, match="stale") as error,
        path_errors(tmp_path, expected="a readable file"),
    ):
        raise OSError(errno.ESTALE, "stale")
    assert not isinstance(error.value, InputError)


def test_json_is_canonical(tmp_path: Path) -> None:
    write_json(tmp_path / "value.json", {"b": [1], "a": None})
    assert (tmp_path / "value.json").read_text() == '{\n  "a": null,\n  "b": [\n    1\n  ]\n}\n'
    assert read_json(tmp_path / "value.json") == {"a": None, "b": [1]}


def test_json_with_nan_is_refused_and_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "value.json", float("nan"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe"])
def test_invalid_json_is_reported_with_its_path(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "value.json").write_bytes(content)
    with pytest.raises(InputError, match=r"value\.json: expected a JSON file"):
        read_json(tmp_path / "value.json")


def test_a_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})


def test_a_source_is_limited_in_size_and_not_empty(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert load_bytes(path, where=None, limit=5) == (b"12345", str(path))
    assert load_bytes(b"12345", where="clip.wav", limit=5) == (b"12345", "clip.wav")
    with pytest.raises(InputError, match="expected at most 4 bytes, found 5 bytes"):
        load_bytes(path, where=None, limit=4)
    with pytest.raises(InputError, match="found an empty file"):
        load_bytes(b"", where=None, limit=4)


def test_an_input_error_is_one_line_and_survives_a_worker_process() -> None:
    error = InputError("file", "expected\ntext, found none", "add some")
    assert str(error) == "file: expected text, found none; add some"
    copy = pickle.loads(pickle.dumps(error))
    assert isinstance(copy, InputError)
    assert (copy.location, copy.problem, copy.hint) == (error.location, error.problem, error.hint)
