"""Match the files of results, ground truth, audio and annotations by clip name."""

from dataclasses import dataclass
from pathlib import Path

from mambatalk.errors import InputError

PREFIXES = ("res_", "gt_")
"""Prefixes that the published trainer writes before a clip's name."""


@dataclass(frozen=True)
class ClipFiles:
    """The files of one clip."""

    name: str
    result: Path
    truth: Path
    audio: Path
    semantics: Path | None


def pair_files(result: Path, truth: Path, audio: Path, semantics: Path | None) -> list[ClipFiles]:
    """Match single files with each other, or the files of folders by clip name.

    The prefixes `res_` and `gt_` are not part of a clip's name. They separate results from ground
    truth where both are in one folder. Clips with ground truth but without a result are not scored.

    Args:
        result: A result npz, or a folder of them.
        truth: Ground truth npz, or a folder of them.
        audio: Speech wav, or a folder of them.
        semantics: Semantic annotation, or a folder of them. Clips without one have no SRGR.

    Returns:
        The files of each clip, sorted by name.

    Raises:
        InputError: A path does not exist, files and folders are mixed, or a result has no ground
            truth or no audio.

    """
    given = [path for path in (result, truth, audio, semantics) if path is not None]
    for path in given:
        if not path.exists():
            raise InputError(
                path,
                "expected a file, or a folder of one file per clip, found no such file or folder",
                "check the path",
            )
    folders = [path.is_dir() for path in given]
    if not any(folders):
        return [ClipFiles(clip_name(result), result, truth, audio, semantics)]
    if not all(folders):
        raise InputError(
            ", ".join(str(path) for path in given),
            "expected only files or only folders, found files and folders mixed",
            "give the folder that holds the file",
        )
    return _pair_folders(result, truth, audio, semantics)


def clip_name(path: Path) -> str:
    """Return the clip name of a file: `2_scott_0_1_1` for `res_2_scott_0_1_1.npz`."""
    name = path.stem
    for prefix in PREFIXES:
        name = name.removeprefix(prefix)
    return name


def _pair_folders(
    result: Path, truth: Path, audio: Path, semantics: Path | None
) -> list[ClipFiles]:
    results = _files_by_clip(result, ".npz", ignored_prefix="gt_")
    if not results:
        raise InputError(result, "expected one result npz per clip, found none", "check the folder")
    truths = _files_by_clip(truth, ".npz", ignored_prefix="res_")
    waves = _files_by_clip(audio, ".wav")
    annotations = _files_by_clip(semantics, ".txt") if semantics else {}

    for name, path in results.items():
        for kind, files, folder in (("truth", truths, truth), ("audio", waves, audio)):
            if name not in files:
                raise InputError(
                    path,
                    f"expected {kind} of the same name, found no {kind} of clip {name} in {folder}",
                    "add the file or remove the result",
                )
    return [
        ClipFiles(name, path, truths[name], waves[name], annotations.get(name))
        for name, path in results.items()
    ]


def _files_by_clip(
    folder: Path, suffix: str, *, ignored_prefix: str | None = None
) -> dict[str, Path]:
    paths = [
        path
        for path in sorted(folder.glob(f"*{suffix}"))
        if not (ignored_prefix and path.name.startswith(ignored_prefix))
    ]
    by_name = {clip_name(path): path for path in paths}
    if len(by_name) < len(paths):
        raise InputError(
            folder, "expected one file per clip, found two files of one clip", "remove one of them"
        )
    return by_name
