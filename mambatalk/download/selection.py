"""Selection of the files of the BEAT2 repository to download.

File names come from a server and are untrusted. Only names that parse as a file of the BEATX layout
are selected, so no selected name can point outside its folder. A listing with a name that tries to
is refused completely.
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
    """A file as listed by the hub at one commit."""

    path: str
    """POSIX path in the repository: `beat_english_v2.0.0/wave16k/2_scott_0_1_1.wav`."""
    size: int
    """Size of the content in bytes, not of the LFS pointer."""
    sha256: str | None
    """Hash of the content. None if the file is not in LFS; then `git_blob` identifies it."""
    git_blob: str
    """Git's SHA-1 of the committed blob: the content, or the LFS pointer."""


def language_folder(language: str) -> str:
    """Return the name of the folder of a language of BEAT2.

    Raises:
        InputError: BEAT2 does not have the language.

    """
    if language.lower() not in LANGUAGES:
        raise InputError(
            "--language",
            f"expected one of {', '.join(LANGUAGES)}, found {language!r}",
            "choose one of them",
        )
    return f"beat_{language.lower()}_v2.0.0"


def parse_speakers(text: str) -> frozenset[int]:
    """Parse a list of speaker ids such as `2,4`.

    Raises:
        InputError: The text is not a list of numbers separated by commas.

    """
    parts = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch("[0-9]{1,6}", part) for part in parts):
        raise InputError(
            "--speakers",
            f"expected numbers separated by commas, such as 2,4, found {text!r}",
            "use the first number of a clip id: 2_scott_0_1_1 belongs to speaker 2",
        )
    return frozenset(map(int, parts))


def select_files(
    files: Iterable[RemoteFile], *, language: str, speakers: frozenset[int] | None
) -> list[RemoteFile]:
    """Select the files of one language: split table, weights and clips.

    Args:
        files: Files that the hub lists.
        language: One of `LANGUAGES`.
        speakers: Speaker ids. If None, select all.

    Returns:
        The files, sorted by path.

    Raises:
        InputError: A name points outside its folder, there is no split table, or a speaker has no
            file.

    """
    folder = language_folder(language)
    files = list(files)
    _check_names([file.path for file in files])

    kinds = {file: file_kind(file.path, folder) for file in files}
    in_layout = {file: kind for file, kind in kinds.items() if kind is not None}
    if SPLIT_TABLE not in in_layout.values():
        raise InputError(
            folder,
            f"expected a corpus in BEATX layout, found no {SPLIT_TABLE} among {len(files)} files",
            "check --language and --revision",
        )

    clips = {file: _clip_of(file.path) for file, kind in in_layout.items() if kind in FOLDERS}
    _check_speakers(clips.values(), speakers)
    selected = [
        file
        for file in in_layout
        if file not in clips or speakers is None or clips[file].speaker in speakers
    ]
    return sorted(selected, key=lambda file: file.path)


def file_kind(path: str, folder: str) -> str | None:
    """Return the kind of a file in the folder of a language.

    Returns:
        A kind of the layout, "train_test_split.csv" or "weights"; None for other files.

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
                f"expected file names inside their folder, found {path[:120]!r}",
                "do not trust this server; check HF_ENDPOINT",
            )


def _check_speakers(clips: Iterable[ClipId], speakers: frozenset[int] | None) -> None:
    known = {clip.speaker for clip in clips}
    known_ids = ", ".join(str(speaker) for speaker in sorted(known))
    unknown = sorted((speakers or set()) - known)
    if unknown:
        raise InputError(
            "--speakers",
            f"expected speakers among {known_ids}, found {', '.join(map(str, unknown))}",
            "remove the speakers that are not in this language",
        )
