"""Files that stand in a corpus' folders and belong to no clip: passed over by ingest, and so easily
lost sight of.
"""

from collections.abc import Iterable
from pathlib import PurePosixPath

from mambatalk.corpus.layout import FOLDERS, parse_clip_id
from mambatalk.errors import InputError


def strays(files: Iterable[str]) -> list[str]:
    """Those of a snapshot's paths whose name is no clip id with the suffix of its folder."""
    suffixes = dict(FOLDERS.values())
    paths = [PurePosixPath(file) for file in files]
    return [
        str(path)
        for path in paths
        if (suffix := suffixes.get(str(path.parent)))
        and not (path.suffix == suffix and _is_id(path.stem))
    ]


def _is_id(text: str) -> bool:
    try:
        parse_clip_id(text)
    except InputError:
        return False
    return True
