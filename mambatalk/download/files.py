"""One file of the data set: whether it is whole on disk, and how it comes from the hub.

A file takes its name only when its content has been checked, so a download that was killed leaves
whole files, and beside them a folder of unfinished ones that the next run goes on from.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from huggingface_hub import HfApi
from huggingface_hub.utils import silent_tqdm
from huggingface_hub.utils.sha import git_hash

from mambatalk.download.hub import REPOSITORY, DamagedError, patiently
from mambatalk.download.selection import RemoteFile
from mambatalk.files import sha256_file

UNFINISHED: Final = ".download"


@dataclass(frozen=True)
class LocalFile:
    """A file that is whole on disk."""

    sha256: str
    fetched: bool
    """False where it stood there already."""


def fetch(api: HfApi, file: RemoteFile, commit: str, out: Path) -> LocalFile:
    """Bring one file to `out / file.path`, or find it there, whole in both cases.

    Raises:
        InputError: It cannot be had, or keeps coming with other content than is listed.

    """
    target = out / file.path
    if has_size(target, file):
        try:
            return LocalFile(content_sha256(target, file), fetched=False)
        except DamagedError:
            target.unlink()
    unfinished = out / UNFINISHED

    def once() -> LocalFile:
        path = Path(
            api.hf_hub_download(
                REPOSITORY,
                file.path,
                repo_type="dataset",
                revision=commit,
                local_dir=unfinished,
                cache_dir=unfinished,
                tqdm_class=silent_tqdm,
            )
        )
        try:
            sha256 = content_sha256(path, file)
        except DamagedError:
            path.unlink()
            raise
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
        return LocalFile(sha256, fetched=True)

    return patiently(f"{api.endpoint}/datasets/{REPOSITORY} {file.path}", once)


def has_size(path: Path, file: RemoteFile) -> bool:
    """Whether a file stands there with the size that is listed: a glance, no proof."""
    return path.is_file() and path.stat().st_size == file.size


def content_sha256(path: Path, file: RemoteFile) -> str:
    """Hexadecimal sha256 of a file whose content is what the hub lists.

    The hub lists no sha256 of small text files, which git itself keeps: those are held against
    git's own hash.

    Raises:
        DamagedError: The size or the content differs.

    """
    if not has_size(path, file):
        raise DamagedError(f"{path.stat().st_size} bytes in place of {file.size}")
    sha256 = sha256_file(path)
    if file.sha256 is not None and sha256 != file.sha256:
        raise DamagedError(f"sha256 {sha256[:12]}... in place of {file.sha256[:12]}...")
    if file.sha256 is None and git_hash(path.read_bytes()) != file.git_blob:
        raise DamagedError("content that does not match git's hash")
    return sha256
