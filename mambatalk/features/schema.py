"""The columns of the features as Arrow schemas.

`frames-*.parquet` have one row per frame and one row group per clip, with the frames in order.
`clips.parquet` has one row per clip in the same order.
"""

from typing import Final

import pyarrow as pa

from mambatalk.motion.skeleton import BETAS_DIM, EXPRESSION_DIM, MOTION_DIM

FRAME: Final = pa.schema(
    [
        ("motion", pa.list_(pa.float32(), MOTION_DIM)),
        ("expressions", pa.list_(pa.float32(), EXPRESSION_DIM)),
        ("word", pa.int32()),
    ]
)
"""Features of a frame: 337 motion channels (skeleton.py), 100 expressions and the word id."""

FEATURE_CLIP: Final = pa.schema(
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
"""Features of a clip. The columns from `unknown_words` on are judged by check_features.

`foot_skate` is the mean horizontal speed (m/s) of feet within 3 cm of their lowest point;
`floor_height` the 2nd percentile of the height of the lowest foot joint (m); `floor_drift` the
change of that height from the first third of the clip to the last (m).
"""
