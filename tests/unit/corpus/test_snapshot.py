"""A snapshot changes if and only if the files of the corpus change."""

import hashlib
import os
from pathlib import Path

import pytest

from mambatalk.corpus.snapshot import build_snapshot, read_snapshot, write_snapshot
from mambatalk.errors import InputError
from mambatalk.files import read_json, write_json


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "corpus"
    for folder in ("smplxflame_30", "wave16k", "weights"):
        (root / folder).mkdir(parents=True)
    (root / "train_test_split.csv").write_text("id,type\n1_a_0_1_1,train\n")
    (root / "smplxflame_30" / "1_a_0_1_1.npz").write_bytes(b"motion")
    (root / "wave16k" / "1_a_0_1_1.wav").write_bytes(b"sound")
    return root


def test_a_snapshot_lists_size_and_hash_of_every_file(root: Path) -> None:
    value = build_snapshot(root)
    assert value["layout"] == "BEATX"
    assert list(value["files"]) == [
        "smplxflame_30/1_a_0_1_1.npz",
        "train_test_split.csv",
        "wave16k/1_a_0_1_1.wav",
    ]
    assert value["files"]["wave16k/1_a_0_1_1.wav"] == {
        "size": 5,
        "sha256": hashlib.sha256(b"sound").hexdigest(),
    }


def test_a_changed_byte_changes_the_digest_and_a_copy_does_not(root: Path, tmp_path: Path) -> None:
    before = build_snapshot(root)
    copy = tmp_path / "copy"
    root.rename(copy)
    assert build_snapshot(copy) == before
    (copy / "wave16k" / "1_a_0_1_1.wav").write_bytes(b"Sound")
    assert build_snapshot(copy)["digest"] != before["digest"]


def test_an_added_or_removed_file_changes_the_digest(root: Path) -> None:
    before = build_snapshot(root)["digest"]
    (root / "weights" / "mean_vel_smplxflame_30.npy").write_bytes(b"x")
    more = build_snapshot(root)["digest"]
    (root / "smplxflame_30" / "1_a_0_1_1.npz").unlink()
    assert len({before, more, build_snapshot(root)["digest"]}) == 3


def test_files_outside_the_layout_are_ignored(root: Path) -> None:
    before = build_snapshot(root)
    (root / "events").mkdir()
    (root / "events" / "x.json").write_text("{}")
    (root / "wave16k" / ".DS_Store").write_text("")
    assert build_snapshot(root) == before


def test_progress_is_reported_and_the_file_read_back(root: Path, tmp_path: Path) -> None:
    seen = []
    value = write_snapshot(
        root, tmp_path / "snapshot.json", progress=lambda done, total: seen.append((done, total))
    )
    assert read_json(tmp_path / "snapshot.json") == value
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_the_origin_of_a_corpus_is_kept_and_changes_no_digest(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "snapshot.json"
    origin = {"name": "mine", "licence": "CC-BY-4.0"}
    write_snapshot(root, path, origin=origin)
    found = read_snapshot(path)
    assert found["origin"] == origin
    assert found["digest"] == build_snapshot(root)["digest"]
    for wrong in ({"name": 1}, {"colour": "red"}, ["mine"]):
        write_json(path, found | {"origin": wrong})
        with pytest.raises(InputError, match="expected an origin with texts for name, licence"):
            read_snapshot(path)


def test_a_file_name_with_control_characters_is_refused(root: Path) -> None:
    (root / "wave16k" / "1_a\x1b[2J.wav").write_bytes(b"x")
    with pytest.raises(InputError, match="printable") as error:
        build_snapshot(root)
    assert "\x1b" not in str(error.value)


def test_a_folder_in_place_of_a_file_is_reported_in_one_line(root: Path) -> None:
    (root / "train_test_split.csv").unlink()
    (root / "train_test_split.csv").mkdir()
    with pytest.raises(
        InputError, match=r"train_test_split\.csv: expected a readable file, found: Is a directory"
    ):
        build_snapshot(root)


def test_a_file_that_disappears_during_the_snapshot_is_reported_in_one_line(root: Path) -> None:
    def remove(done: int, total: int) -> None:
        (root / "wave16k" / "1_a_0_1_1.wav").unlink(missing_ok=True)

    with pytest.raises(
        InputError, match=r"1_a_0_1_1\.wav: expected a readable file, found: No such file"
    ):
        build_snapshot(root, progress=remove)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("name", ["wave16k", "wave16k/1_a_0_1_1.wav"])
def test_a_path_without_permission_is_reported_in_one_line(root: Path, name: str) -> None:
    (root / name).chmod(0)
    with pytest.raises(
        InputError, match=r"expected a readable (file|folder), found: Permission denied"
    ):
        build_snapshot(root)


def test_no_snapshot_is_written_of_a_folder_without_a_corpus(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        write_snapshot(tmp_path / "none", tmp_path / "snapshot.json")
    assert list(tmp_path.iterdir()) == []
