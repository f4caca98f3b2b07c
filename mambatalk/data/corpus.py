"""A corpus in BEATX layout: what clip ids mean and where a clip's files lie.

A language folder holds `train_test_split.csv` and one folder per kind of file; a file's stem is its clip's id. Ids come
from data, so they are parsed field by field before any path is made of them: no id can leave its folder.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

from mambatalk.errors import UserError

Split = Literal["train", "val", "test", "additional"]
Kind = Literal["motion", "wav", "textgrid", "sem"]
Language = Literal["english", "chinese", "spanish", "japanese"]

SPLIT_FILE: Final = "train_test_split.csv"
FOLDERS: Final = MappingProxyType({
    "motion": ("smplxflame_30", ".npz"),
    "wav": ("wave16k", ".wav"),
    "textgrid": ("textgrid", ".TextGrid"),
    "sem": ("sem", ".txt"),
})
"""Folder and suffix of each kind of file."""
WEIGHTS_FOLDER: Final = "weights"
MEAN_VELOCITY_FILE: Final = "mean_vel_smplxflame_30.npy"

_LANGUAGES: Final[tuple[Language, ...]] = ("english", "chinese", "spanish", "japanese")
_NUMBER = "(0|[1-9][0-9]{0,5})"
_ID = re.compile(rf"{_NUMBER}_([^\W\d_](?:[^\W_]|-){{0,63}})_([0-7])_{_NUMBER}_{_NUMBER}")


@dataclass(frozen=True, order=True)
class ClipId:
    """The five fields of speaker_name_type_start_end."""

    speaker: int
    name: str
    recording_type: int
    """0 English speech, 1 English conversation; 2 and 3 Chinese, 4 and 5 Spanish, 6 and 7 Japanese."""
    start: int
    end: int
    """Equal to `start` for one-minute clips."""

    def __str__(self) -> str:
        return f"{self.speaker}_{self.name}_{self.recording_type}_{self.start}_{self.end}"


def parse_clip_id(text: str) -> ClipId:
    """The fields of an id such as `2_scott_0_1_1`; `str` of the result is the id again.

    Raises:
        UserError: The text is no such id; slashes, dots, blanks and control characters never are part of one.

    """
    match = _ID.fullmatch(text)
    if match is None:
        raise UserError("clip id", found=ascii(text[:80]), expected="speaker_name_type_start_end as in 2_scott_0_1_1",
                        do="rename the clip's files and its row in the split file")
    speaker, name, recording_type, start, end = match.groups()
    return ClipId(int(speaker), name, int(recording_type), int(start), int(end))


def language_of(clip: ClipId) -> Language:
    """Language spoken in a clip, from its recording type."""
    return _LANGUAGES[clip.recording_type // 2]


def clip_path(root: str | Path, clip: ClipId, kind: Kind) -> Path:
    """Where a clip's file of one kind lies, whether it exists or not."""
    folder, suffix = FOLDERS[kind]
    return Path(root) / folder / f"{clip}{suffix}"


def check_root(root: str | Path) -> Path:
    """The root, if it is a language folder in BEATX layout.

    Raises:
        UserError: No such folder, or it holds no split file or no motion folder; a language folder below it is named.

    """
    root = Path(root)
    if not root.is_dir():
        raise UserError(root, found="no such folder", expected="a corpus in BEATX layout",
                        do="check the path, or `mambatalk sample` to make one")
    missing = [name for name in (SPLIT_FILE, FOLDERS["motion"][0], FOLDERS["wav"][0]) if not (root / name).exists()]
    if missing:
        inner = sorted(path.parent.name for path in root.glob(f"*/{SPLIT_FILE}"))
        raise UserError(root, found=f"no {', no '.join(missing)}", expected="a language folder in BEATX layout",
                        do=f"give {root / inner[0]}" if inner else "check the path")
    return root
