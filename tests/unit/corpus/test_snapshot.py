"""A snapshot changes when a byte of the corpus does, and with nothing else."""

import hashlib
import os

import pytest

from mambatalk.corpus.snapshot import build_snapshot, write_snapshot
from mambatalk.errors import InputError
from mambatalk.files import read_json


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "corpus"
    for folder in ("smplxflame_30", "wave16k", "weights"):
        (root / folder).mkdir(parents=True)
    (root / "train_test_split.csv").write_text("id,type\n1_a_0_1_1,train\n")
    (root / "smplxflame_30" / "1_a_0_1_1.npz").write_bytes(b"motion")
    (root / "wave16k" / "1_a_0_1_1.wav").write_bytes(b"sound")
    return root


def test_files_with_size_and_digest(root):
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


def test_one_byte_shows_and_a_copy_does_not(root, tmp_path):
    before = build_snapshot(root)
    copy = tmp_path / "copy"
    root.rename(copy)
    assert build_snapshot(copy) == before
    (copy / "wave16k" / "1_a_0_1_1.wav").write_bytes(b"Sound")
    assert build_snapshot(copy)["digest"] != before["digest"]


def test_a_file_more_or_less_shows(root):
    before = build_snapshot(root)["digest"]
    (root / "weights" / "mean_vel_smplxflame_30.npy").write_bytes(b"x")
    more = build_snapshot(root)["digest"]
    (root / "smplxflame_30" / "1_a_0_1_1.npz").unlink()
    assert len({before, more, build_snapshot(root)["digest"]}) == 3


def test_what_is_no_part_of_the_layout_is_not_looked_at(root):
    before = build_snapshot(root)
    (root / "events").mkdir()
    (root / "events" / "x.json").write_text("{}")
    (root / "wave16k" / ".DS_Store").write_text("")
    assert build_snapshot(root) == before


def test_progress_and_file(root, tmp_path):
    seen = []
    value = write_snapshot(
        root, tmp_path / "snapshot.json", progress=lambda done, total: seen.append((done, total))
    )
    assert read_json(tmp_path / "snapshot.json") == value
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_control_characters_in_a_name_are_refused(root):
    (root / "wave16k" / "1_a\x1b[2J.wav").write_bytes(b"x")
    with pytest.raises(InputError, match="printable") as error:
        build_snapshot(root)
    assert "\x1b" not in str(error.value)


def test_a_folder_in_place_of_a_file_is_one_line(root):
    (root / "train_test_split.csv").unlink()
    (root / "train_test_split.csv").mkdir()
    with pytest.raises(
        InputError, match=r"train_test_split\.csv: found Is a directory; expected a file to read"
    ):
        build_snapshot(root)


def test_a_file_that_goes_while_others_are_read_is_one_line(root):
    def remove(done, total):
        (root / "wave16k" / "1_a_0_1_1.wav").unlink(missing_ok=True)

    with pytest.raises(InputError, match=r"1_a_0_1_1\.wav: found No such file"):
        build_snapshot(root, progress=remove)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("name", ["wave16k", "wave16k/1_a_0_1_1.wav"])
def test_what_may_not_be_read_is_one_line(root, name):
    (root / name).chmod(0)
    with pytest.raises(
        InputError, match=r"found Permission denied; expected a (file|folder) to read"
    ):
        build_snapshot(root)


def test_no_corpus_writes_nothing(tmp_path):
    with pytest.raises(InputError):
        write_snapshot(tmp_path / "none", tmp_path / "snapshot.json")
    assert list(tmp_path.iterdir()) == []
