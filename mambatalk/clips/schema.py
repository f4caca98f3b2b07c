"""The columns of the clip store as an Arrow schema.

The store (`shard-*.parquet`) has one row and one row group per clip, as recorded: rotations in
axis-angle radians, translation in metres, 30 frames per second, audio as FLAC.
"""

from typing import Final

import pyarrow as pa

INTERVALS: Final = pa.list_(
    pa.struct([("start", pa.float64()), ("end", pa.float64()), ("text", pa.string())])
)
SEMANTICS: Final = pa.list_(
    pa.struct(
        [
            ("name", pa.string()),
            ("start", pa.float64()),
            ("end", pa.float64()),
            ("duration", pa.float64()),
            ("score", pa.float64()),
            ("keywords", pa.string()),
        ]
    )
)

CLIP: Final = pa.schema(
    [
        ("clip_id", pa.string()),
        ("poses", pa.list_(pa.float32())),
        ("trans", pa.list_(pa.float64())),
        ("expressions", pa.list_(pa.float32())),
        ("betas", pa.list_(pa.float32())),
        ("audio", pa.binary()),
        ("words", INTERVALS),
        ("phones", INTERVALS),
        ("semantics", SEMANTICS),
    ]
)
"""`poses` (165, n), `trans` (3, n) and `expressions` (100, n) are stored channel by channel, which
compresses best.
"""
CLIP_FLOATS: Final = ("poses", "trans", "expressions", "betas")
"""Columns of `CLIP` that are lists of floats."""
