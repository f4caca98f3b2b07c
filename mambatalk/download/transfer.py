"""Transfer of BEAT2 from its hub into a folder.

`OUT/download.json` records the commit, and size and SHA-256 of every file. A later run into the
same folder compares the hub with the record, adds what is missing (more speakers, another
language), and downloads no complete file again.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from filelock import FileLock, Timeout
from huggingface_hub import HfApi

from mambatalk.console import Progress
from mambatalk.download.files import UNFINISHED, LocalFile, fetch_file, has_listed_size
from mambatalk.download.hub import REPOSITORY, list_files, resolve_revision
from mambatalk.download.selection import RemoteFile, language_folder, select_files
from mambatalk.errors import InputError
from mambatalk.files import make_folder, read_json, write_json

RECORD: Final = "download.json"
LOCK: Final = "lock"
PARALLEL_FILES: Final = 8
SPARE_BYTES: Final = 64 * 2**20
"""Reserve for partly used blocks of the file system and for the record."""
ErrorCallback = Callable[[InputError], None]
"""Callback with an error that ends the download."""


@dataclass(frozen=True)
class DownloadPlan:
    """Files to download."""

    commit: str
    folder: str
    """Folder of the language, such as `beat_english_v2.0.0`."""
    files: Sequence[RemoteFile]
    not_selected: int
    """Number of files in the folder that are not downloaded."""

    @property
    def size(self) -> int:
        """Size of all files in bytes."""
        return sum(file.size for file in self.files)

    def missing(self, out: Path) -> list[RemoteFile]:
        """Return the files that are not in `out` yet, judged by their sizes."""
        return [file for file in self.files if not has_listed_size(out / file.path, file)]


def plan_download(
    api: HfApi, *, language: str, speakers: frozenset[int] | None, revision: str
) -> DownloadPlan:
    """List the files of a revision and select those to download.

    Args:
        api: From `connect`.
        language: One of `LANGUAGES`.
        speakers: Speaker ids. If None, select all.
        revision: Branch, tag or commit.

    Raises:
        InputError: There is no such revision, language or speaker, the listing contains a name
            that points outside its folder, or the hub does not answer.

    """
    folder = language_folder(language)
    commit = resolve_revision(api, revision)
    listed = list_files(api, commit, folder)
    files = select_files(listed, language=language, speakers=speakers)
    return DownloadPlan(commit, folder, files, len(listed) - len(files))


def download(
    api: HfApi,
    plan: DownloadPlan,
    out: str | Path,
    *,
    progress: Progress | None = None,
    on_error: ErrorCallback | None = None,
) -> dict[str, LocalFile]:
    """Download the files of a plan, several in parallel.

    Args:
        api: From `connect`.
        plan: From `plan_download`.
        out: Folder for the folders of the languages.
        progress: Called after each file with the complete bytes and the total.
        on_error: Called with an error that ends the download, before the transfers in progress
            are awaited, which can take minutes.

    Returns:
        The complete file at each path.

    Raises:
        InputError: The folder holds another commit, the disk is too small, another download into
            the folder is running, or a file cannot be downloaded. Complete files are kept.

    """
    out = Path(out)
    with _exclusive_access(out):
        recorded = _read_record(out, plan)
        check_free_space(plan, out)
        write_json(out / RECORD, _build_record(plan, recorded, {}))
        local_files = _fetch_all(api, plan, out, progress, on_error)
        write_json(out / RECORD, _build_record(plan, recorded, local_files))
        _clear_unfinished(out / UNFINISHED)
    return local_files


def check_free_space(plan: DownloadPlan, out: Path) -> None:
    """Check that the missing files of a plan fit on the disk.

    Raises:
        InputError: There is not enough free space.

    """
    needed = sum(file.size for file in plan.missing(out)) + SPARE_BYTES
    # The folder itself may not exist yet.
    existing = next(folder for folder in (out, *out.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise InputError(
            out,
            f"expected {needed / 1e9:.2f} GB of free space, found {free / 1e9:.2f} GB",
            "free some space, use another disk, or select fewer --speakers",
        )


def _fetch_all(
    api: HfApi,
    plan: DownloadPlan,
    out: Path,
    progress: Progress | None,
    on_error: ErrorCallback | None,
) -> dict[str, LocalFile]:
    local_files: dict[str, LocalFile] = {}
    complete_bytes = 0
    with ThreadPoolExecutor(PARALLEL_FILES) as pool:
        jobs = {pool.submit(fetch_file, api, file, plan.commit, out): file for file in plan.files}
        try:
            for job in as_completed(jobs):
                file = jobs[job]
                local_files[file.path] = job.result()
                complete_bytes += file.size
                if progress is not None:
                    progress(complete_bytes, plan.size)
        except BaseException as error:
            # Files that have not started are cancelled. Leaving the pool waits for the others.
            pool.shutdown(wait=False, cancel_futures=True)
            if on_error is not None and isinstance(error, InputError):
                on_error(error)
            raise
    return local_files


@contextmanager
def _exclusive_access(out: Path) -> Iterator[None]:
    """Prevent a second download into the same folder, which would use the same unfinished files."""
    unfinished = out / UNFINISHED
    make_folder(unfinished)
    try:
        with FileLock(unfinished / LOCK, timeout=0):
            for stale in unfinished.rglob("*.incomplete"):
                stale.unlink()
            yield
    except Timeout:
        raise InputError(
            out,
            "expected no other download into this folder, found one that is running",
            "wait for it or stop it",
        ) from None


def _clear_unfinished(unfinished: Path) -> None:
    """Delete everything except the lock file.

    If the lock file were deleted, a waiting process and a new one could each lock a file of that
    name.
    """
    for path in unfinished.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != LOCK:
            path.unlink()


def _read_record(out: Path, plan: DownloadPlan) -> dict[str, Any]:
    """Return the files of earlier downloads into this folder, after comparing them with the hub."""
    path = out / RECORD
    if not path.exists():
        return {}
    record = read_json(path)
    if not isinstance(record, dict) or not isinstance(record.get("files"), dict):
        raise InputError(
            path,
            "expected the record of a download, found other JSON",
            "delete the file; complete files beside it are not downloaded again",
        )
    if record.get("commit") != plan.commit or record.get("repository") != REPOSITORY:
        raise InputError(
            path,
            f"expected {REPOSITORY} at {plan.commit},"
            f" found {record.get('repository')} at {record.get('commit')}",
            "use another folder, or the recorded commit as --revision",
        )
    for file in plan.files:
        if not _matches_record(file, record["files"].get(file.path)):
            raise InputError(
                path,
                f"expected the recorded content of {file.path}, found that the hub lists another",
                "check HF_ENDPOINT: a commit always holds the same files",
            )
    return record["files"]


def _matches_record(file: RemoteFile, entry: Any) -> bool:
    if entry is None:
        return True
    listed = {"size": file.size, "git_blob": file.git_blob}
    return isinstance(entry, dict) and listed == {key: entry.get(key) for key in listed}


def _build_record(
    plan: DownloadPlan, recorded: dict[str, Any], local_files: dict[str, LocalFile]
) -> dict[str, Any]:
    """Describe the folder.

    `sha256` is null for a file that is not downloaded yet and has no SHA-256 in the listing.
    """
    files = dict(recorded)
    for file in plan.files:
        local = local_files.get(file.path)
        files[file.path] = {
            "size": file.size,
            "git_blob": file.git_blob,
            "sha256": local.sha256 if local else file.sha256,
        }
    return {"repository": REPOSITORY, "commit": plan.commit, "files": files}
