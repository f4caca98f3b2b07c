"""Matching the files of results, ground truth, audio and annotations."""

from pathlib import Path

import pytest

from mambatalk.errors import InputError
from mambatalk.evaluation.pairing import pair_files

NAMES = ("1_a_0_1_1", "1_a_0_2_2")


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for name in ("results", "audio", "sem"):
        (tmp_path / name).mkdir()
    for name in NAMES:
        (tmp_path / "results" / f"res_{name}.npz").touch()
        (tmp_path / "results" / f"gt_{name}.npz").touch()
        (tmp_path / "audio" / f"{name}.wav").touch()
    (tmp_path / "sem" / f"{NAMES[0]}.txt").touch()
    return tmp_path


def test_files_in_folders_are_matched_by_clip_name(folders: Path) -> None:
    pairs = pair_files(folders / "results", folders / "results", folders / "audio", folders / "sem")
    assert [pair.name for pair in pairs] == sorted(NAMES)
    for pair in pairs:
        assert pair.result.name == f"res_{pair.name}.npz"
        assert pair.truth.name == f"gt_{pair.name}.npz"
        assert pair.audio.name == f"{pair.name}.wav"
        assert (pair.semantics is not None) == (pair.name == NAMES[0])


def test_single_files_with_any_names_are_matched(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("res_mine.npz", "truth.npz", "speech.wav")]
    for path in paths:
        path.touch()
    (pair,) = pair_files(paths[0], paths[1], paths[2], None)
    assert pair.name == "mine"
    assert (pair.result, pair.truth, pair.audio) == tuple(paths)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"truth": "audio"}, "no truth of clip"),
        ({"audio": "sem"}, "no audio of clip"),
        ({"result": "sem"}, "found none"),
        ({"audio": "audio/1_a_0_1_1.wav"}, "files and folders mixed"),
        ({"truth": "nowhere"}, "no such file or folder"),
    ],
)
def test_paths_that_do_not_match_are_an_input_error(
    folders: Path, change: dict[str, str], message: str
) -> None:
    given = {"result": "results", "truth": "results", "audio": "audio"} | change
    result, truth, audio = (folders / path for path in given.values())
    with pytest.raises(InputError, match=message):
        pair_files(result, truth, audio, None)


def test_two_files_of_one_clip_are_an_input_error(tmp_path: Path) -> None:
    for name in ("1_a_0_1_1", "res_1_a_0_1_1"):
        (tmp_path / f"{name}.npz").touch()
    with pytest.raises(InputError, match="two files of one clip"):
        pair_files(tmp_path, tmp_path, tmp_path, None)
