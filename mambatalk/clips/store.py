"""The clip store: a corpus in a few Parquet files, one row and one row group per clip, and a
manifest of facts.
"""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mambatalk.clips.row import Clip, clip_of
from mambatalk.errors import InputError

MANIFEST = "manifest.parquet"


class ClipStore:
    """A folder that `ingest` wrote."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not (self.folder / MANIFEST).is_file():
            raise InputError(
                self.folder, f"expected a clip store, found no {MANIFEST}", "run the stage ingest"
            )
        self.manifest = pd.read_parquet(self.folder / MANIFEST)
        """One row per clip, sorted by id."""
        self._places = self.manifest.set_index("clip_id")[["shard", "row_group"]]
        self._shards: dict[Path, pq.ParquetFile] = {}

    def read(self, clip_id: str) -> Clip:
        """Read one clip.

        Raises:
            InputError: The store has no data of it.

        """
        return clip_of(self.columns(clip_id))

    def clips(self, clip_ids: list[str]) -> Iterator[Clip]:
        """Clips one by one, in the order given."""
        return (self.read(clip_id) for clip_id in clip_ids)

    def columns(self, clip_id: str, names: list[str] | None = None) -> pa.Table:
        """Columns of one clip (schema.CLIP), all by default; nothing else is read.

        Raises:
            InputError: The store has no data of it.

        """
        shard, row_group = self.place(clip_id)
        if shard not in self._shards:
            self._shards[shard] = pq.ParquetFile(shard)
        return self._shards[shard].read_row_group(row_group, columns=names)

    def place(self, clip_id: str) -> tuple[Path, int]:
        """File and row group of a clip.

        Raises:
            InputError: The store has no data of it.

        """
        shard, row_group = (
            self._places.loc[clip_id] if clip_id in self._places.index else (None, None)
        )
        if shard is None or row_group is None:
            raise InputError(
                self.folder,
                f"expected a clip that was read, found no data of clip {clip_id}",
                "look at its fault in the manifest",
            )
        return self.folder / shard, int(row_group)
