"""Which files of the BEAT2 repository make the corpus that a person asked for.

The names come from a server. Each is taken apart and only what is a file of the BEATX layout is
chosen, so no name that is chosen can leave its folder; a listing that tries to is refused as a
whole.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from mambatalk.corpus.layout import FOLDERS, LANGUAGES, SPLIT_TABLE, WEIGHTS, ClipId, parse_clip_id
from mambatalk.errors import InputError

_KINDS: Final = {folder: (kind, suffix) for kind, (folder, suffix) in FOLDERS.items()}


@dataclass(frozen=True)
class RemoteFile:
    """A file as the hub lists it at one commit."""

    path: str
    """POSIX, from the root of the repository: `beat_english_v2.0.0/wave16k/2_scott_0_1_1.wav`."""
    size: int
    """Bytes of the content, not of the LFS pointer."""
    sha256: str | None
    """Of the content; none where the file is no LFS file, whose content is then known by
    `git_blob`.
    """
    git_blob: str
    """Git's SHA-1 of what is committed: the content, or the LFS pointer to it."""


def language_folder(language: str) -> str:
    """Name of the folder of one language of BEAT2.

    Raises:
        InputError: BEAT2 has no such language.

    """
    if language not in LANGUAGES:
        raise InputError(
            "--language",
            f"expected one of {', '.join(LANGUAGES)}, found {repr(language)}",
            "name one of them",
        )
    return f"beat_{language}_v2.0.0"


def parse_speakers(text: str) -> frozenset[int]:
    """Speaker numbers of a list such as `2,4`.

    Raises:
        InputError: Anything but numbers between commas.

    """
    parts = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch("[0-9]{1,6}", part) for part in parts):
        raise InputError(
            "--speakers",
            f"expected numbers between commas, such as 2,4, found {repr(text)}",
            "take them from the ids of the clips: 2_scott_0_1_1 is speaker 2's",
        )
    return frozenset(map(int, parts))


def choose(
    files: Iterable[RemoteFile], *, language: str, speakers: frozenset[int] | None
) -> list[RemoteFile]:
    """Pick the layout's files of one language: split table, weights, and all clips or those of some
    speakers.

    Args:
        files: What the hub lists.
        language: One of `LANGUAGES`.
        speakers: Numbers of the speakers to take, or none for all.

    Returns:
        The files, sorted by path.

    Raises:
        InputError: A name would leave its folder; no split table; a speaker without a file.

    """
    folder = language_folder(language)
    files = list(files)
    _check_names([file.path for file in files])
    inside = {file: kind for file in files if (kind := kind_of(file.path, folder)) is not None}
    if SPLIT_TABLE not in inside.values():
        raise InputError(
            folder,
            f"expected a corpus in BEATX layout, found no {SPLIT_TABLE} among {len(files)} files",
            "check --language and --revision",
        )
    clips = {file: _clip_of(file.path) for file, kind in inside.items() if kind in FOLDERS}
    _check_speakers(clips.values(), speakers)
    return sorted(
        (
            file
            for file in inside
            if file not in clips or speakers is None or clips[file].speaker in speakers
        ),
        key=lambda file: file.path,
    )


def kind_of(path: str, folder: str) -> str | None:
    """Say what a file of a language's folder is: a kind of the layout, the split table, weights;
    none for the rest.
    """
    match path.split("/"):
        case [top, name] if top == folder and name == SPLIT_TABLE:
            return SPLIT_TABLE
        case [top, inner, name] if top == folder and inner == WEIGHTS and not name.startswith("."):
            return WEIGHTS
        case [top, inner, name] if top == folder and inner in _KINDS:
            kind, suffix = _KINDS[inner]
            return kind if name.endswith(suffix) and _is_clip(name.removesuffix(suffix)) else None
    return None


def _is_clip(text: str) -> bool:
    try:
        parse_clip_id(text)
    except InputError:
        return False
    return True


def _clip_of(path: str) -> ClipId:
    return parse_clip_id(path.rpartition("/")[2].rpartition(".")[0], where=path)


def _check_names(paths: Sequence[str]) -> None:
    for path in paths:
        if not path.isprintable() or "\\" in path or {"", ".", ".."} & set(path.split("/")):
            raise InputError(
                "listing of the hub",
                f"expected names that stay inside their folder, found the name {path[:120]!r}",
                "do not trust this server; check HF_ENDPOINT",
            )


def _check_speakers(clips: Iterable[ClipId], speakers: frozenset[int] | None) -> None:
    known = {clip.speaker for clip in clips}
    unknown = sorted((speakers or set()) - known)
    if unknown:
        raise InputError(
            "--speakers",
            f"expected some of {', '.join(map(str, sorted(known)))},"
            f" found {', '.join(map(str, unknown))}",
            "take out who is not in this language",
        )
