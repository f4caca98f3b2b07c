"""The clip store: a corpus in a few Parquet files, with one row group per clip, and a manifest."""

from pathlib import Path
from typing import Any, Protocol

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mambatalk.clips.manifest import MANIFEST
from mambatalk.clips.row import Clip, clip_from_row
from mambatalk.errors import InputError


class ClipSource(Protocol):
    """Clips and their manifest: a clip store, or the files of a corpus."""

    manifest: pd.DataFrame
    """One row per clip, sorted by clip id."""

    def read(self, clip_id: str) -> Clip:
        """Read one clip."""


class ClipStore:
    """A folder that `ingest` wrote.

    Args:
        folder: The folder.

    Raises:
        InputError: The folder has no manifest.

    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not (self.folder / MANIFEST).is_file():
            raise InputError(
                self.folder, f"expected a clip store, found no {MANIFEST}", "run the stage ingest"
            )
        self.manifest = pd.read_parquet(self.folder / MANIFEST)
        """One row per clip, sorted by clip id."""
        self._places = self.manifest.set_index("clip_id")[["shard", "row_group"]]
        self._shards: dict[Path, pq.ParquetFile] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process needs; it opens the shards itself."""
        return self.__dict__ | {"_shards": {}}

    def read(self, clip_id: str) -> Clip:
        """Read one clip.

        Raises:
            InputError: The store has no data of the clip.

        """
        return clip_from_row(self.columns(clip_id))

    def columns(self, clip_id: str, names: list[str] | None = None) -> pa.Table:
        """Read some columns (schema.CLIP) of one clip.

        Args:
            clip_id: Id of the clip.
            names: Columns to read. If None, read all.

        Raises:
            InputError: The store has no data of the clip.

        """
        shard, row_group = self.place(clip_id)
        if shard not in self._shards:
            self._shards[shard] = pq.ParquetFile(shard)
        return self._shards[shard].read_row_group(row_group, columns=names)

    def place(self, clip_id: str) -> tuple[Path, int]:
        """Return the file and the row group of a clip.

        Raises:
            InputError: The store has no data of the clip.

        """
        shard, row_group = None, None
        if clip_id in self._places.index:
            shard, row_group = self._places.loc[clip_id]
        if shard is None or row_group is None:
            raise InputError(
                self.folder,
                f"expected data of clip {clip_id}, found none",
                "read the column `fault` of the manifest for the reason",
            )
        return self.folder / shard, int(row_group)
