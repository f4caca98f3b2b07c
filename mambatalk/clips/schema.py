"""The columns of the clip store and of the features, as Arrow schemas: the one place where they are
named.

Clip store (`shard-*.parquet`): one row and one row group per clip, as recorded: poses in axis-angle
radians, translation in metres, 30 frames a second, sound as FLAC.
Features (`frames-*.parquet`): one row per frame, one row group per clip, frames in order;
`clips.parquet` beside them has one row per clip in the same order.
"""

import pyarrow as pa

from mambatalk.motion.skeleton import BETAS_DIM, EXPRESSION_DIM, MOTION_DIM

INTERVALS = pa.list_(
    pa.struct([("start", pa.float64()), ("end", pa.float64()), ("text", pa.string())])
)
SEMANTICS = pa.list_(
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

CLIP = pa.schema(
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
"""Clip store; `poses` (165 x n), `trans` (3 x n) and `expressions` (100 x n) lie channel by
channel: it packs best.
"""

FRAME = pa.schema(
    [
        ("motion", pa.list_(pa.float32(), MOTION_DIM)),
        ("expressions", pa.list_(pa.float32(), EXPRESSION_DIM)),
        ("word", pa.int32()),
    ]
)
"""Features by frame: 337 motion channels (skeleton.py), 100 expressions, word id."""

FEATURE_CLIP = pa.schema(
    [
        ("clip_id", pa.string()),
        ("speaker", pa.int32()),
        ("speaker_index", pa.int32()),
        ("split", pa.string()),
        ("frames", pa.int32()),
        ("shard", pa.string()),
        ("row_group", pa.int32()),
        ("emotion", pa.int32()),
        ("betas", pa.list_(pa.float32(), BETAS_DIM)),
        ("audio", pa.binary()),
        ("samples", pa.int32()),
        ("wave_mean", pa.float64()),
        ("wave_std", pa.float64()),
        ("ctc", pa.list_(pa.uint8())),
        ("has_text", pa.bool_()),
        ("unknown_words", pa.float64()),
        ("silent_share", pa.float64()),
        ("contact_share", pa.float64()),
        ("foot_skate", pa.float64()),
        ("floor_height", pa.float64()),
        ("floor_drift", pa.float64()),
        ("not_finite", pa.int64()),
    ]
)
"""Features by clip; the columns from `unknown_words` on are what check_features judges.

foot_skate: mean horizontal speed (m/s) of feet within 3 cm of their lowest; floor_height: lowest
    foot
joint (m), 2nd percentile; floor_drift: how far it is from the first third of the clip to the last.
"""
