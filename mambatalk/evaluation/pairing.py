"""Files of results, truth and sound, matched by clip name."""

from dataclasses import dataclass
from pathlib import Path

from mambatalk.errors import InputError

PREFIXES = ("res_", "gt_")
"""What the published trainer puts before a clip's name; either is ignored when names are
matched.
"""


@dataclass(frozen=True)
class ClipFiles:
    """What belongs to one clip."""

    name: str
    result: Path
    truth: Path
    audio: Path
    semantics: Path | None


def pair_files(result: Path, truth: Path, audio: Path, semantics: Path | None) -> list[ClipFiles]:
    """Match one file with one file, or the files of folders by clip name, sorted.

    `res_` and `gt_` before a name are ignored, and tell results from truth where both lie in one
    folder. Clips that have truth but no result are not scored; a clip without semantics has no
    SRGR.

    Raises:
        InputError: A path does not exist, files and folders are mixed, or a result has no truth or
            no sound.

    """
    given = [path for path in (result, truth, audio, semantics) if path is not None]
    for path in given:
        if not path.exists():
            raise InputError(
                path,
                "expected a file, or a folder of one file a clip, found no such file or folder",
                "check the path",
            )
    folders = [path.is_dir() for path in given]
    if not any(folders):
        return [ClipFiles(clip_name(result), result, truth, audio, semantics)]
    if not all(folders):
        raise InputError(
            ", ".join(str(path) for path in given),
            "expected all files, or all folders, found files and folders mixed",
            "give the folder that holds the file",
        )
    return _pair_folders(result, truth, audio, semantics)


def clip_name(path: Path) -> str:
    """`2_scott_0_1_1` of `res_2_scott_0_1_1.npz`."""
    name = path.stem
    for prefix in PREFIXES:
        name = name.removeprefix(prefix)
    return name


def _pair_folders(
    result: Path, truth: Path, audio: Path, semantics: Path | None
) -> list[ClipFiles]:
    results, truths = _clips(result, ".npz", without="gt_"), _clips(truth, ".npz", without="res_")
    sounds = _clips(audio, ".wav")
    meanings = _clips(semantics, ".txt") if semantics else {}
    if not results:
        raise InputError(result, "expected one result a clip, found no npz", "check the folder")
    for name, path in results.items():
        for kind, others, folder in (("truth", truths, truth), ("sound", sounds, audio)):
            if name not in others:
                raise InputError(
                    path,
                    f"expected a file of that name, found no {kind} of clip {name} in {folder}",
                    "add it, or take the result away",
                )
    return [
        ClipFiles(name, path, truths[name], sounds[name], meanings.get(name))
        for name, path in results.items()
    ]


def _clips(folder: Path, suffix: str, *, without: str | None = None) -> dict[str, Path]:
    paths = [
        path
        for path in sorted(folder.glob(f"*{suffix}"))
        if not (without and path.name.startswith(without))
    ]
    named = {clip_name(path): path for path in paths}
    if len(named) < len(paths):
        raise InputError(
            folder, "expected one file a clip, found two files of one clip", "take one away"
        )
    return named
