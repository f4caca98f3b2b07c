"""A corpus in BEATX layout: clip ids, the folder of each kind of file, languages and the split
table.

Ids come from files that others wrote, so they are parsed field by field and never used as a path
before that: what this module accepts cannot leave its folder. Source of layout and names: BEAT v2
(BEATX), beat_english_v2.0.0.
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
"""Folder and suffix of each kind of file of a clip."""
SPLIT_TABLE: Final = "train_test_split.csv"
WEIGHTS: Final = "weights"

Split = Literal["train", "val", "test", "additional"]
SPLITS: Final[tuple[Split, ...]] = get_args(Split)
LANGUAGES: Final = ("english", "chinese", "spanish", "japanese")
OTHER_LANGUAGE: Final = "other"
"""Not BEATX's: for corpora of one's own, with the recording types after those of `LANGUAGES`."""
MAX_TABLE_BYTES: Final = 16 * 2**20

_NUMBER = r"(0|[1-9][0-9]{0,5})"
_CLIP_ID = re.compile(rf"{_NUMBER}_([A-Za-z][A-Za-z0-9-]{{0,63}})_{_NUMBER}_{_NUMBER}_{_NUMBER}")


@dataclass(frozen=True, order=True)
class ClipId:
    """The five fields of `2_scott_0_1_1`; `str` gives the id back."""

    speaker: int
    name: str
    recording_type: int
    """Even is a speech, odd a conversation; each pair is a language (`language_of`)."""
    start: int
    """Number of the first of the recordings joined in the clip; most clips hold one."""
    end: int

    def __str__(self) -> str:
        return f"{self.speaker}_{self.name}_{self.recording_type}_{self.start}_{self.end}"


def parse_clip_id(text: str, *, where: object = "clip id") -> ClipId:
    """Parse `SPEAKER_NAME_TYPE_START_END`.

    Args:
        text: The id, for example `2_scott_0_1_1`.
        where: File or line that holds it, for the error.

    Raises:
        InputError: Anything else: other fields, signs, leading zeros, path separators, control
            characters, a recording type without a language, a start after its end.

    """
    match = _CLIP_ID.fullmatch(text)
    if match is None:
        raise InputError(
            where,
            f"expected SPEAKER_NAME_TYPE_START_END such as 2_scott_0_1_1, found {repr(text[:120])}",
            "correct the id; letters, digits and hyphens in the name, plain numbers elsewhere",
        )
    speaker, name, recording_type, start, end = match.groups()
    clip = ClipId(int(speaker), name, int(recording_type), int(start), int(end))
    if clip.recording_type > 2 * len(LANGUAGES) + 1:
        raise InputError(
            where,
            f"expected 0 to {2 * len(LANGUAGES) + 1},"
            f" found recording type {recording_type} in {text!r}",
            "correct the third field of the id",
        )
    if clip.start > clip.end:
        raise InputError(
            where,
            f"expected a start not after its end, found recordings {start} to {end} in {text!r}",
            "correct the last two fields of the id",
        )
    return clip


def language_of(clip: ClipId) -> str:
    """Language of a clip by its recording type: 0, 1 English; 2, 3 Chinese; 4, 5 Spanish; 6, 7
    Japanese; 8, 9 other.
    """
    return (*LANGUAGES, OTHER_LANGUAGE)[clip.recording_type // 2]


def clip_path(root: str | Path, clip: ClipId, kind: Kind) -> Path:
    """Where a clip's file of one kind stands, whether or not it is there."""
    folder, suffix = FOLDERS[kind]
    return Path(root) / folder / f"{clip}{suffix}"


def check_root(root: str | Path) -> Path:
    """Return `root` when it is a corpus in BEATX layout.

    Raises:
        InputError: No such folder, or it lacks the split table, the motion or the sound.

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


def clip_ids(
    root: str | Path, splits: Iterable[str] | None = None, listed: Iterable[str] = ()
) -> list[ClipId]:
    """Every clip of a corpus, sorted: those of the split table, those that only have files, those
    listed.

    Files whose name is no clip id are none of the corpus' clips and are passed over.

    Args:
        root: Language folder.
        splits: Ids of the split table; none reads it.
        listed: Paths of a snapshot; a clip is one of the corpus also when all its files are gone.

    """
    root = check_root(root)
    found = set(read_split(root / SPLIT_TABLE) if splits is None else splits)
    for folder, suffix in FOLDERS.values():
        paths = [
            *(root / folder).glob(f"*{suffix}"),
            *(Path(path) for path in listed if path.startswith(f"{folder}/")),
        ]
        found |= {
            path.stem for path in paths if path.suffix == suffix and _CLIP_ID.fullmatch(path.stem)
        }
    return sorted(parse_clip_id(text, where=root) for text in found)


def read_split(source: Source, *, where: str | None = None) -> dict[str, Split]:
    """Read the split table: clip id to train, val, test or additional, in the order of the file.

    Args:
        source: Path, or the file's bytes.
        where: Name for errors; the path by default.

    Raises:
        InputError: The file is missing, too large or not UTF-8; a column is missing; an id or a
            split is none; a clip stands there twice.

    """
    data, name = load_bytes(source, where=where, limit=MAX_TABLE_BYTES)
    try:
        rows = csv.DictReader(
            io.StringIO(data.decode("utf-8-sig"), newline=""), restkey="more", restval=""
        )
        if rows.fieldnames is None or not {"id", "type"} <= set(rows.fieldnames):
            raise InputError(
                name,
                f"expected columns id,type, found {f'columns {rows.fieldnames or []}'[:200]}",
                "give the table the header line `id,type`",
            )
        return _splits(rows, name)
    except csv.Error as error:
        raise InputError(
            name, f"expected a table id,type, found broken CSV ({error})", "make it again"
        ) from None
    except UnicodeDecodeError as error:
        raise InputError(
            name,
            f"expected UTF-8, found bytes that are not UTF-8 ({error.reason} at {error.start})",
            "save the file as UTF-8",
        ) from None


def _splits(rows: "csv.DictReader[str]", name: str) -> dict[str, Split]:
    splits: dict[str, Split] = {}
    for row in rows:
        where = f"{name} line {rows.line_num}"
        clip, split = str(parse_clip_id(row["id"], where=where)), row["type"]
        if split not in SPLITS:
            raise InputError(
                where,
                f"expected {', '.join(SPLITS)}, found type {split[:120]!r}",
                "correct the type",
            )
        if clip in splits:
            raise InputError(
                where,
                f"expected every clip once, found {clip} a second time",
                "remove one of its lines, or clips leak between splits",
            )
        splits[clip] = split
    return splits
