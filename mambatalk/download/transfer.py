"""BEAT2 from its hub into a folder: what will come, room for it, all of it checked, and a record of
what it is.

`OUT/download.json` pins the commit, and size and sha256 of every file. A later run into the same
folder holds the hub against it, adds what is missing (more speakers, another language) and fetches
nothing that is whole.
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

from mambatalk.download.files import UNFINISHED, LocalFile, fetch, has_size
from mambatalk.download.hub import REPOSITORY, list_files, resolve
from mambatalk.download.selection import RemoteFile, choose, language_folder
from mambatalk.errors import InputError
from mambatalk.files import make_folder, read_json, write_json

RECORD: Final = "download.json"
LOCK: Final = "lock"
WORKERS: Final = 8
SPARE_BYTES: Final = 64 * 2**20
"""For the unused ends of blocks and the record."""
Progress = Callable[[int, int], None]
"""Called with the bytes that are whole and the bytes in all."""
Failed = Callable[[InputError], None]
"""Called with what fails for good, at once."""


@dataclass(frozen=True)
class Plan:
    """What a person asked for, as the hub lists it."""

    commit: str
    folder: str
    """Of the language: `beat_english_v2.0.0`."""
    files: Sequence[RemoteFile]
    left_out: int
    """Files of the folder that were not asked for."""

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    def missing(self, out: Path) -> list[RemoteFile]:
        """Files that are not in `out` yet, by their sizes."""
        return [file for file in self.files if not has_size(out / file.path, file)]


def plan(api: HfApi, *, language: str, speakers: frozenset[int] | None, revision: str) -> Plan:
    """Ask the hub what there is at a revision, and choose.

    Raises:
        InputError: No such revision, language or speaker; names that would leave their folder; no
            answer.

    """
    folder = language_folder(language)
    commit = resolve(api, revision)
    listed = list_files(api, commit, folder)
    files = choose(listed, language=language, speakers=speakers)
    return Plan(commit, folder, files, len(listed) - len(files))


def download(
    api: HfApi,
    wanted: Plan,
    out: str | Path,
    *,
    progress: Progress | None = None,
    failed: Failed | None = None,
) -> dict[str, LocalFile]:
    """Bring every file of a plan to `out`, several at a time.

    Args:
        api: From `connect`.
        wanted: From `plan`.
        out: Folder that holds, or will hold, the folders of the languages.
        progress: Told after each file.
        failed: Told what ends the download before it waits for files under way, which the hub may
            hold up for minutes.

    Returns:
        What stands at each path.

    Raises:
        InputError: Another commit was recorded here, the disk is too small, another download runs
            here, or a file cannot be had. Whatever is whole stays.

    """
    out = Path(out)
    with _alone(out):
        recorded = _recorded(out, wanted)
        check_room(wanted, out)
        write_json(out / RECORD, _record(wanted, recorded, {}))
        there = _fetch_all(api, wanted, out, progress, failed)
        write_json(out / RECORD, _record(wanted, recorded, there))
        _empty(out / UNFINISHED)
    return there


def check_room(wanted: Plan, out: Path) -> None:
    """Raise a InputError where the disk of `out` does not hold what is still to come."""
    needed = sum(file.size for file in wanted.missing(out)) + SPARE_BYTES
    place = next(folder for folder in (out, *out.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(place).free
    if free < needed:
        raise InputError(
            out,
            f"expected {needed / 1000000000.0:.2f} GB for what is to come,"
            f" found {free / 1000000000.0:.2f} GB free",
            "free some space, take another disk, or fewer --speakers",
        )


def _fetch_all(
    api: HfApi, wanted: Plan, out: Path, progress: Progress | None, failed: Failed | None
) -> dict[str, LocalFile]:
    there: dict[str, LocalFile] = {}
    whole = 0
    with ThreadPoolExecutor(WORKERS) as pool:
        jobs = {pool.submit(fetch, api, file, wanted.commit, out): file for file in wanted.files}
        try:
            for job in as_completed(jobs):
                there[jobs[job].path] = job.result()
                whole += jobs[job].size
                if progress is not None:
                    progress(whole, wanted.size)
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            if failed is not None and isinstance(error, InputError):
                failed(error)
            raise
    return there


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Keep a second download out of the folder, whose unfinished files it would share."""
    make_folder(out / UNFINISHED)
    try:
        with FileLock(out / UNFINISHED / LOCK, timeout=0):
            for stale in (out / UNFINISHED).rglob("*.incomplete"):
                stale.unlink()
            yield
    except Timeout:
        raise InputError(
            out,
            "expected one at a time, found another download into this folder",
            "wait for it, or stop it",
        ) from None


def _empty(unfinished: Path) -> None:
    """Leave nothing but the lock: without it, two that come next would each hold a file of that
    name.
    """
    for path in unfinished.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != LOCK:
            path.unlink()


def _recorded(out: Path, wanted: Plan) -> dict[str, Any]:
    """Files of an earlier download into this folder, after a look whether the hub still lists the
    same.
    """
    if not (out / RECORD).exists():
        return {}
    record = read_json(out / RECORD)
    if not isinstance(record, dict) or not isinstance(record.get("files"), dict):
        raise InputError(
            out / RECORD,
            "expected what this command wrote there, found no record of a download",
            "remove the file; what is whole beside it is not fetched twice",
        )
    if record.get("commit") != wanted.commit or record.get("repository") != REPOSITORY:
        raise InputError(
            out / RECORD,
            f"expected {REPOSITORY} at {wanted.commit},"
            f" found {record.get('repository')} at {record.get('commit')}",
            "take another folder, or the recorded commit as --revision",
        )
    for file in wanted.files:
        if not _is_as_recorded(file, record["files"].get(file.path)):
            raise InputError(
                out / RECORD,
                "expected the same commit to hold the same files,"
                f" found {file.path} recorded with other content",
                "check HF_ENDPOINT",
            )
    return record["files"]


def _is_as_recorded(file: RemoteFile, old: Any) -> bool:
    facts = {"size": file.size, "git_blob": file.git_blob}
    return old is None or isinstance(old, dict) and facts == {key: old.get(key) for key in facts}


def _record(wanted: Plan, recorded: dict[str, Any], there: dict[str, LocalFile]) -> dict[str, Any]:
    """Describe the folder; sha256 is null where the hub lists none and the file has not come
    yet.
    """
    files = {
        file.path: {
            "size": file.size,
            "git_blob": file.git_blob,
            "sha256": there[file.path].sha256 if file.path in there else file.sha256,
        }
        for file in wanted.files
    }
    return {"repository": REPOSITORY, "commit": wanted.commit, "files": {**recorded, **files}}
