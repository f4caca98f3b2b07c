"""Parquet files of many clips, with one row group per clip.

The shard of a clip depends only on its name and on the number of shards, so a clip that is changed,
added or removed affects one file. All clips move only when the number of shards doubles.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


def assign_shards(names: Iterable[str], size: int) -> dict[str, list[str]]:
    """Distribute names over shards by their hash.

    Args:
        names: Clip ids.
        size: Largest average number of names per shard.

    Returns:
        File name of each shard to its names, both sorted. The number of shards is a power of two;
        empty shards are left out.

    """
    ordered = sorted(names)
    needed = -(-len(ordered) // size)
    bits = max(0, (needed - 1).bit_length())
    shards: dict[str, list[str]] = {
        f"shard-{number:05d}.parquet": [] for number in range(1 << bits)
    }
    files = list(shards)
    for name in ordered:
        name_hash = int(hashlib.sha256(name.encode()).hexdigest(), 16)
        shards[files[name_hash & ((1 << bits) - 1)]].append(name)
    return {file: members for file, members in shards.items() if members}


class ShardWriter:
    """Writer of one Parquet file, clip by clip.

    The file is created with the first clip.

    Args:
        path: File to write.
        schema: Arrow schema of the clips.
        floats: Columns that are lists of floats; they are split by byte, which compresses better.
        dictionary: Columns with few distinct values.

    """

    def __init__(
        self,
        path: Path,
        schema: pa.Schema,
        *,
        floats: Iterable[str] = (),
        dictionary: Iterable[str] = (),
    ) -> None:
        self.path = path
        self._schema = schema
        self._options: dict[str, Any] = {
            "compression": "zstd",
            "use_dictionary": list(dictionary) or False,
            # Signs and exponents hardly change within a second of motion.
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
        # Arrow keeps freed memory, which adds up over thousands of clips.
        pa.default_memory_pool().release_unused()
        self._count += 1
        return self._count - 1

    def close(self) -> None:
        """Write the footer of the file."""
        if self._writer is not None:
            self._writer.close()
