"""The BEATX layout: clip ids, folders, languages and the split table.

Clip ids come from untrusted files. They are parsed field by field before they are used in a path,
so an accepted id cannot point outside its folder. Source of layout and names: BEAT v2 (BEATX),
beat_english_v2.0.0.
"""

import csv
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal, get_args

from mambatalk.errors import InputError
from mambatalk.files import Source, load_bytes

Kind = Literal["motion", "wave", "textgrid", "semantics"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
FOLDERS: Final[Mapping[Kind, tuple[str, str]]] = MappingProxyType(
    {
        "motion": ("smplxflame_30", ".npz"),
        "wave": ("wave16k", ".wav"),
        "textgrid": ("textgrid", ".TextGrid"),
        "semantics": ("sem", ".txt"),
    }
)
"""Folder and file suffix of each kind of file."""
SPLIT_TABLE: Final = "train_test_split.csv"
WEIGHTS: Final = "weights"

Split = Literal["train", "val", "test", "additional"]
SPLITS: Final[tuple[Split, ...]] = get_args(Split)
LANGUAGES: Final = ("english", "chinese", "spanish", "japanese")
OTHER_LANGUAGE: Final = "other"
"""Language of custom corpora, whose recording types follow those of `LANGUAGES`; not in BEATX."""
MAX_TABLE_BYTES: Final = 16 * 2**20

_NUMBER = r"(0|[1-9][0-9]{0,5})"
_CLIP_ID = re.compile(rf"{_NUMBER}_([A-Za-z][A-Za-z0-9-]{{0,63}})_{_NUMBER}_{_NUMBER}_{_NUMBER}")


@dataclass(frozen=True, order=True)
class ClipId:
    """The five fields of a clip id such as `2_scott_0_1_1`; `str` formats them as an id."""

    speaker: int
    name: str
    recording_type: int
    """Even: speech; odd: conversation. Each pair is a language, see `language_of`."""
    start: int
    """Number of the first recording in the clip. Most clips hold a single recording."""
    end: int
    """Number of the last recording in the clip."""

    def __str__(self) -> str:
        return f"{self.speaker}_{self.name}_{self.recording_type}_{self.start}_{self.end}"


def parse_clip_id(text: str, *, where: object = "clip id") -> ClipId:
    """Parse `SPEAKER_NAME_TYPE_START_END`.

    Args:
        text: The id, for example `2_scott_0_1_1`.
        where: File or line that holds the id, shown in error messages.

    Raises:
        InputError: The id does not have this form (for example, it contains a sign, a leading
            zero, a path separator or a control character), its recording type has no language, or
            it ends before it starts.

    """
    match = _CLIP_ID.fullmatch(text)
    if match is None:
        raise InputError(
            where,
            f"expected SPEAKER_NAME_TYPE_START_END such as 2_scott_0_1_1, found {text[:120]!r}",
            "correct the id: letters, digits and hyphens in the name, numbers elsewhere",
        )
    speaker, name, recording_type, start, end = match.groups()
    clip = ClipId(int(speaker), name, int(recording_type), int(start), int(end))
    last_type = 2 * len(LANGUAGES) + 1
    if clip.recording_type > last_type:
        raise InputError(
            where,
            f"expected a recording type from 0 to {last_type}, found {recording_type} in {text!r}",
            "correct the third field of the id",
        )
    if clip.start > clip.end:
        raise InputError(
            where,
            f"expected a start before the end, found recordings {start} to {end} in {text!r}",
            "correct the last two fields of the id",
        )
    return clip


def language_of(clip: ClipId) -> str:
    """Return the language of a clip.

    Recording types 0 and 1 are English, 2 and 3 Chinese, 4 and 5 Spanish, 6 and 7 Japanese, 8 and
    9 other.
    """
    return (*LANGUAGES, OTHER_LANGUAGE)[clip.recording_type // 2]


def clip_path(root: str | Path, clip: ClipId, kind: Kind) -> Path:
    """Return the path of a clip's file of one kind; the file may not exist."""
    folder, suffix = FOLDERS[kind]
    return Path(root) / folder / f"{clip}{suffix}"


def check_root(root: str | Path) -> Path:
    """Return `root` as a path if it is a corpus in BEATX layout.

    Raises:
        InputError: The folder does not exist, or has no split table, motion or audio.

    """
    root = Path(root)
    wanted = [SPLIT_TABLE, FOLDERS["motion"][0], FOLDERS["wave"][0]]
    if not root.is_dir():
        raise InputError(
            root, "expected a corpus in BEATX layout, found no such folder", "check the path"
        )
    missing = [name for name in wanted if not (root / name).exists()]
    if missing:
        raise InputError(
            root,
            f"expected {', '.join(wanted)} in a BEATX folder, found no {', '.join(missing)}",
            "point at the language folder, for example beat_english_v2.0.0",
        )
    return root


def list_clips(
    root: str | Path, splits: Iterable[str] | None = None, listed: Iterable[str] = ()
) -> list[ClipId]:
    """Return every clip of a corpus in sorted order.

    A clip belongs to the corpus if it is in the split table, if one of its files exists, or if a
    snapshot lists one of its files. Files whose names are not valid clip ids are ignored.

    Args:
        root: Language folder.
        splits: Clip ids of the split table. If None, read the table.
        listed: Paths of a snapshot. They also reveal clips whose files were all removed.

    Raises:
        InputError: `root` is not a corpus, or its split table is invalid.

    """
    root = check_root(root)
    found = set(read_split_table(root / SPLIT_TABLE) if splits is None else splits)
    snapshot_paths = [Path(path) for path in listed]
    for folder, suffix in FOLDERS.values():
        in_snapshot = [path for path in snapshot_paths if path.parts[:1] == (folder,)]
        paths = [*(root / folder).glob(f"*{suffix}"), *in_snapshot]
        names = [path.stem for path in paths if path.suffix == suffix]
        found.update(name for name in names if _CLIP_ID.fullmatch(name))
    return sorted(parse_clip_id(text, where=root) for text in found)


def read_split_table(source: Source, *, where: str | None = None) -> dict[str, Split]:
    """Read the split of each clip id, in file order.

    Args:
        source: Path, or the file's bytes.
        where: Location shown in error messages. If None, use the path.

    Returns:
        Clip id to "train", "val", "test" or "additional".

    Raises:
        InputError: The file is missing, too large or not UTF-8; a column is missing; a clip id or
            a split is invalid; a clip is listed twice.

    """
    data, name = load_bytes(source, where=where, limit=MAX_TABLE_BYTES)
    try:
        text = io.StringIO(data.decode("utf-8-sig"), newline="")
        rows = csv.DictReader(text, restkey="more", restval="")
        columns = rows.fieldnames or []
        if not {"id", "type"} <= set(columns):
            raise InputError(
                name,
                f"expected columns id,type, found columns {list(columns)!r:.200}",
                "add the header line `id,type`",
            )
        return _parse_splits(rows, name)
    except csv.Error as error:
        raise InputError(
            name,
            f"expected a CSV table with columns id,type, found invalid CSV ({error})",
            "write the table again",
        ) from None
    except UnicodeDecodeError as error:
        raise InputError(
            name,
            f"expected UTF-8, found bytes that are not UTF-8 ({error.reason} at {error.start})",
            "save the file as UTF-8",
        ) from None


def _parse_splits(rows: "csv.DictReader[str]", name: str) -> dict[str, Split]:
    splits: dict[str, Split] = {}
    for row in rows:
        where = f"{name} line {rows.line_num}"
        clip = str(parse_clip_id(row["id"], where=where))
        split = row["type"]
        if split not in SPLITS:
            raise InputError(
                where,
                f"expected one of {', '.join(SPLITS)}, found type {split[:120]!r}",
                "correct the type",
            )
        if clip in splits:
            raise InputError(
                where,
                f"expected each clip once, found {clip} a second time",
                "remove one of the two lines, or the clip leaks between splits",
            )
        splits[clip] = split
    return splits
