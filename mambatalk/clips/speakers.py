"""What can be said of a clip only beside the other clips of its speaker."""

from typing import Any, Final

import pandas as pd

ENOUGH: Final = 3
"""Clips whose mouths tell a lag, before it is the speaker's."""


def speaker_columns(table: pd.DataFrame) -> dict[str, "pd.Series[Any]"]:
    """Columns of the manifest by speaker.

    Args:
        table: One row per clip: speaker, name, split, mouth_lag, shape_print.

    Returns:
        `speaker_lag`, the median of `mouth_lag` in seconds; `speaker_names`, under how many names
        the speaker's number goes; `training_clips` of the speaker; `shape_share`, the share of the
        speaker's clips with this clip's shape.

    """
    by_speaker = table.groupby("speaker")
    lags = table["mouth_lag"].astype("float64")
    told = lags.notna().groupby(table["speaker"]).transform("sum") >= ENOUGH
    trains = table["split"].isin(("train", "additional"))
    known = table["shape_print"].notna()
    alike = table[known].groupby(["speaker", "shape_print"])["shape_print"].transform("size")
    return {
        "speaker_lag": lags.groupby(table["speaker"]).transform("median").where(told),
        "speaker_names": by_speaker["name"].transform("nunique").astype("float64"),
        "training_clips": trains.groupby(table["speaker"]).transform("sum").astype("float64"),
        "shape_share": (alike / known.groupby(table["speaker"]).transform("sum")).reindex(
            table.index
        ),
    }
