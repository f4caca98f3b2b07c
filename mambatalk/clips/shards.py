"""Parquet files of many clips each, one row group per clip; which clip lies where hangs on its name
alone.

So a clip that changes, comes or goes touches one file. Only where a corpus doubles do all clips
move.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


def assign(names: Iterable[str], size: int) -> dict[str, list[str]]:
    """Shards and the names in each, all in order: a power of two of shards, of `size` names or
    fewer on average.
    """
    ordered = sorted(names)
    bits = max(0, (-(-len(ordered) // size) - 1).bit_length())
    shards: dict[str, list[str]] = {
        f"shard-{number:05d}.parquet": [] for number in range(1 << bits)
    }
    files = list(shards)
    for name in ordered:
        shards[
            files[int(hashlib.sha256(name.encode()).hexdigest(), 16) & ((1 << bits) - 1)]
        ].append(name)
    return {file: members for file, members in shards.items() if members}


class ShardWriter:
    """One Parquet file, written clip by clip; a file to which nothing is added is not made."""

    def __init__(
        self,
        path: Path,
        schema: pa.Schema,
        *,
        floats: Iterable[str] = (),
        dictionary: Iterable[str] = (),
    ) -> None:
        self.path, self._schema = path, schema
        self._options: dict[str, Any] = {
            "compression": "zstd",
            "use_dictionary": list(dictionary) or False,
            # Floats byte by byte: the signs and exponents of a second of motion are nearly the
            # same.
            "column_encoding": {f"{column}.list.element": "BYTE_STREAM_SPLIT" for column in floats},
        }
        self._writer: pq.ParquetWriter | None = None
        self._count = 0

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, clip: pa.Table) -> int:
        """Write a clip and return its row group."""
        if self._writer is None:
            self._writer = pq.ParquetWriter(self.path, self._schema, **self._options)
        self._writer.write_table(clip, row_group_size=max(1, len(clip)))
        pa.default_memory_pool().release_unused()
        self._count += 1
        return self._count - 1

    def close(self) -> None:
        """Write the end of the file."""
        if self._writer is not None:
            self._writer.close()
