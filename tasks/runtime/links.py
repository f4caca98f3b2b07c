"""Files that a stage reads and that are links into DVC's cache, verified before it reads them.

DVC trusts what it has once stored: it takes the digest of a file whose size and time are unchanged
from its database, and never reads a cached object again. Bytes that the disk changed, or that a
program wrote through a link, would be used by every later stage, and even be restored as the result
of an earlier run.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mambatalk.errors import InputError


class DamagedInputError(InputError):
    """A file that the stage reads had been damaged, and has been removed from DVC's cache."""


@dataclass(frozen=True)
class CacheLink:
    """A file of the checkout and the cached object that it is a link to."""

    path: Path
    cached: Path
    md5: str
    """Digest that DVC states for the object."""

    @property
    def is_intact(self) -> bool:
        """Whether the bytes of the file have the digest."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "md5").hexdigest() == self.md5


def cache_links(stage: Any) -> Iterator[CacheLink]:
    """Yield the dependencies of a stage that are links into the cache.

    Args:
        stage: DVC's stage, whose dependencies have been saved.

    """
    from dvc.dependency import ParamsDependency

    for dependency in stage.deps:
        if isinstance(dependency, ParamsDependency):
            continue
        root = Path(dependency.fs_path)
        for parts, md5 in _files(dependency.obj):
            path = root.joinpath(*parts)
            cached = Path(stage.repo.cache.local.oid_to_path(md5))
            if cached.exists() and path.samefile(cached):
                yield CacheLink(path, cached, md5)


def _files(obj: Any) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the path below the dependency, and the md5, of every file of DVC's object."""
    from dvc_data.hashfile.tree import Tree

    if isinstance(obj, Tree):
        for parts, (_, hash_info) in obj.iteritems():  # type: ignore[no-untyped-call]
            yield parts, hash_info.value
    else:
        yield (), obj.hash_info.value


def remove_damaged(links: Sequence[CacheLink], root: Path) -> None:
    """Read linked files, and remove the damaged ones from the checkout and from the cache.

    DVC then builds them again: neither an output that lacks a file nor an object that is missing
    is taken for the result of an earlier run.

    Args:
        links: Files that the stage reads.
        root: Root of the checkout.

    Raises:
        DamagedInputError: A file was damaged.

    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        intact = list(pool.map(lambda link: link.is_intact, links))
    damaged = [link for link, good in zip(links, intact, strict=True) if not good]
    for link in damaged:
        link.path.unlink()
        link.cached.unlink()
    if damaged:
        name = os.path.relpath(damaged[0].path, root)
        more = f" and {len(damaged) - 1} more" if len(damaged) > 1 else ""
        raise DamagedInputError(
            f"{name}{more}",
            "expected the bytes that DVC stored, found others, and removed the file from its cache",
            "run the same command again to build it again",
        )
