"""Download and verification of one file of the data set.

A file gets its final name only after its content has been verified. An interrupted download leaves
complete files, and a folder of unfinished ones that the next run resumes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from huggingface_hub import HfApi
from huggingface_hub.utils import silent_tqdm
from huggingface_hub.utils.sha import git_hash

from mambatalk.download.hub import REPOSITORY, DamagedError, with_retries
from mambatalk.download.selection import RemoteFile
from mambatalk.files import sha256_file

UNFINISHED: Final = ".download"
"""Folder of unfinished files, inside the output folder."""


@dataclass(frozen=True)
class LocalFile:
    """A complete file on disk."""

    sha256: str
    fetched: bool
    """False if the file was there before."""


def fetch_file(api: HfApi, file: RemoteFile, commit: str, out: Path) -> LocalFile:
    """Download one file to `out / file.path`, unless it is already there and intact.

    Args:
        api: From `connect`.
        file: File to download.
        commit: Commit of the repository.
        out: Output folder.

    Raises:
        InputError: The file cannot be downloaded, or its content differs from the listing after
            several attempts.

    """
    target = out / file.path
    if has_listed_size(target, file):
        try:
            return LocalFile(verified_sha256(target, file), fetched=False)
        except DamagedError:
            target.unlink()
    unfinished = out / UNFINISHED

    def attempt() -> LocalFile:
        downloaded = api.hf_hub_download(
            REPOSITORY,
            file.path,
            repo_type="dataset",
            revision=commit,
            local_dir=unfinished,
            cache_dir=unfinished,
            tqdm_class=silent_tqdm,
        )
        path = Path(downloaded)
        try:
            sha256 = verified_sha256(path, file)
        except DamagedError:
            path.unlink()
            raise
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
        return LocalFile(sha256, fetched=True)

    return with_retries(f"{api.endpoint}/datasets/{REPOSITORY} {file.path}", attempt)


def has_listed_size(path: Path, file: RemoteFile) -> bool:
    """Return whether a file with the listed size exists; the content is not read."""
    return path.is_file() and path.stat().st_size == file.size


def verified_sha256(path: Path, file: RemoteFile) -> str:
    """Return the SHA-256 of a file after comparing its content with the listing.

    The hub lists no SHA-256 for small text files, which are stored in git itself. They are compared
    with git's own hash.

    Raises:
        DamagedError: The size or the content differs.

    """
    if not has_listed_size(path, file):
        raise DamagedError(f"{path.stat().st_size} bytes instead of {file.size}")
    sha256 = sha256_file(path)
    if file.sha256 is not None and sha256 != file.sha256:
        raise DamagedError(f"sha256 {sha256[:12]}... instead of {file.sha256[:12]}...")
    if file.sha256 is None and git_hash(path.read_bytes()) != file.git_blob:
        raise DamagedError("content that does not match git's hash")
    return sha256
