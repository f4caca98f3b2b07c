"""What of a clip is worth a picture: columns of the manifest, with the words and units a person
reads.

Columns that rules bound and this list does not know are pictured too, under their own names: a new
rule needs nothing here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pandas as pd

from mambatalk.clips.posture import GROUPS
from mambatalk.quality.rules import Rule


@dataclass(frozen=True)
class Measure:
    """A column with one number per clip."""

    column: str
    title: str
    unit: str = ""

    @property
    def axis(self) -> str:
        """Title and unit, as an axis bears them."""
        return f"{self.title} ({self.unit})" if self.unit else self.title


KNOWN: Final = (
    Measure("motion_seconds", "Length of the motion", "s"),
    Measure("length_gap", "Sound longer than motion by", "s"),
    Measure("loudness", "Loudness of the speech", "dB of full scale"),
    Measure("silent_share", "Silence", "share of the sound"),
    Measure("peak", "Loudest sample", "full scale is 1"),
    Measure("word_share", "Sound with words", "share of the sound"),
    Measure("words_per_minute", "Words a minute"),
    Measure("word_contrast", "Words louder than the rest by", "dB"),
    Measure("max_joint_speed", "Fastest turn of a joint", "rad/s"),
    Measure("max_joint_acceleration", "Hardest jerk of a joint", "rad/s²"),
    Measure("max_angle", "Largest rotation", "rad"),
    *(Measure(f"angle_{group}", f"Largest rotation of the {group}", "rad") for group in GROUPS),
    Measure("tilt", "Tilt of the body", "rad"),
    Measure("max_translation_speed", "Fastest move of the body", "m/s"),
    Measure("translation_range", "Room walked in", "m"),
    Measure("frozen_seconds", "Longest time without any motion", "s"),
    Measure("repeated_share", "Frames like those before them", "share of the motion"),
    Measure("frozen_limb_seconds", "Longest time one arm stands still", "s"),
    Measure("mouth_lag", "Sound later than the mouth by", "s"),
    Measure("word_lag", "Sound later than the words by", "s"),
    Measure("max_expression", "Strongest expression"),
    Measure("face_range", "Range of the strongest expression"),
    Measure("max_beta", "Largest shape parameter"),
)
COUNTS: Final = (
    "copies",
    "splits_of_content",
    "not_finite",
    "semantic_unknown",
    "speaker_names",
    "speaker_lag",
    "training_clips",
    "shape_share",
)
"""Bounded, but no measure of a clip: 0 or 1 wherever nothing is wrong, or the same for all of a
speaker.
"""


def with_derived(manifest: pd.DataFrame) -> pd.DataFrame:
    """The manifest and what follows from its columns."""
    return manifest.assign(
        words_per_minute=manifest["words"].astype("float64") / manifest["audio_seconds"] * 60
    )


def measure_of(column: str) -> Measure:
    """The measure of a column, known or not."""
    return next(
        (one for one in KNOWN if one.column == column),
        Measure(column, column.replace("_", " ").capitalize()),
    )


def measures(table: pd.DataFrame, rules: Sequence[Rule]) -> list[Measure]:
    """What to picture of a table of clips: known columns, then those that rules bound, where values
    differ.
    """
    known = [one.column for one in KNOWN]
    bounded = [
        rule.column for rule in rules if rule.minimum is not None or rule.maximum is not None
    ]
    columns = [
        column
        for column in dict.fromkeys([*known, *bounded])
        if column in table and column not in COUNTS
    ]
    return [measure_of(column) for column in columns if numeric(table[column]).nunique() > 1]


def numeric(column: pd.Series) -> "pd.Series[float]":
    """A column as numbers; missing ones are NaN, whatever type they made the column."""
    return pd.to_numeric(column, errors="coerce").astype("float64")
