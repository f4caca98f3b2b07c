"""Measures: the columns of the clip manifest that the report plots, with their titles and units.

A column that a rule bounds and that `KNOWN_MEASURES` does not list is plotted under its own name,
so a new rule needs no change here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pandas as pd

from mambatalk.clips.posture import JOINT_GROUPS
from mambatalk.motion.skeleton import TRACKED_PARTS
from mambatalk.quality.rules.rule import Rule


@dataclass(frozen=True)
class Measure:
    """A column with one number per clip."""

    column: str
    title: str
    unit: str = ""

    @property
    def axis_label(self) -> str:
        """Title and unit."""
        return f"{self.title} ({self.unit})" if self.unit else self.title


KNOWN_MEASURES: Final = (
    Measure("motion_seconds", "Length of the motion", "s"),
    Measure("length_gap", "Audio length minus motion length", "s"),
    Measure("loudness", "Loudness of the speech", "dB of full scale"),
    Measure("silent_share", "Silence", "share of the audio"),
    Measure("peak", "Loudest sample", "full scale is 1"),
    Measure("word_share", "Audio covered by words", "share of the audio"),
    Measure("words_per_minute", "Words per minute"),
    Measure("word_contrast", "Loudness of words above the rest", "dB"),
    Measure("max_joint_speed", "Fastest joint rotation", "rad/s"),
    Measure("max_joint_acceleration", "Largest change of joint speed", "rad/s²"),
    Measure("max_angle", "Largest rotation", "rad"),
    *(
        Measure(f"angle_{group}", f"Largest rotation of the {group}", "rad")
        for group in JOINT_GROUPS
    ),
    Measure("tilt", "Tilt of the body", "rad"),
    Measure("max_translation_speed", "Fastest movement of the body", "m/s"),
    Measure("translation_range", "Range of the translation", "m"),
    Measure("frozen_seconds", "Longest time without motion", "s"),
    Measure("repeated_share", "Repeated frames", "share of the motion"),
    Measure("frozen_limb_seconds", "Longest time with one frozen arm", "s"),
    Measure("foot_height", "Height of the lower foot", "m"),
    Measure("elbow_bend", "Bend of the straighter elbow", "rad"),
    Measure("elbow_axis", "Rotation of the elbows about y", "share"),
    Measure("finger_order", "Closing of fingers above that of the thumb", "share"),
    Measure("face_agreement", "Correlation of jaw and expressions"),
    Measure("jitter", "Noise of the joint that trembles most", "rad"),
    *(
        Measure(
            f"activity_{part}",
            f"Speed of {part.replace('_', ' ')}",
            "1/s" if part == "face" else "rad/s",
        )
        for part in TRACKED_PARTS
    ),
    Measure("mouth_lag", "Delay of the audio relative to the mouth", "s"),
    Measure("word_lag", "Delay of the audio relative to the words", "s"),
    Measure("stroke_lag", "Delay of the audio relative to gestures", "s"),
    Measure("cut", "Largest jump of the whole body", "times the speed around it"),
    Measure("order", "Distance over two frames", "times that over one"),
    Measure("phones_per_word", "Phones per word"),
    Measure("repeated_word", "Most frequent word", "share of the words"),
    Measure("word_length_fit", "Letters against phones of the words", "correlation"),
    Measure("unlabelled_speech", "Speech without words", "s"),
    Measure("voice_distance", "Distance of the voice from the speaker's"),
    Measure("max_expression", "Largest expression coefficient"),
    Measure("face_range", "Range of the largest expression coefficient"),
    Measure("max_beta", "Largest shape parameter"),
    Measure("fps", "Frame rate of the motion", "1/s"),
    Measure("translation_rise", "Range of the height of the body", "m"),
    Measure("clipped_share", "Clipped samples", "share of the audio"),
    Measure("length_ratio", "Motion length divided by audio length"),
    Measure("sample_rate", "Sample rate of the audio", "Hz"),
    Measure("channels", "Channels of the audio"),
    Measure("dc_offset", "Mean of the samples", "full scale is 1"),
    Measure("silent_start", "Silence at the start", "s"),
    Measure("silent_end", "Silence at the end", "s"),
    Measure("words_past_end", "Words after the end of the audio", "s"),
    Measure("longest_word", "Longest word", "s"),
    Measure("word_overlap", "Longest overlap of two words", "s"),
    Measure("semantic_unknown", "Semantic labels that are not in BEAT"),
    Measure("semantic_score", "Largest semantic score"),
    Measure("semantic_past_end", "Semantic labels after the end of the audio", "s"),
    Measure("speaker_names", "Names of the speaker"),
    Measure("training_clips", "Training clips of the speaker"),
)
NOT_PLOTTED: Final = (
    "fps",
    "sample_rate",
    "channels",
    "copies",
    "splits_of_content",
    "not_finite",
    "semantic_unknown",
    "speaker_names",
    "speaker_lag",
    "training_clips",
    "shape_share",
    "elbow_axis",
    "finger_order",
    *(f"frozen_{part}_seconds" for part in TRACKED_PARTS),
    *(f"z_activity_{part}" for part in TRACKED_PARTS),
    "z_foot_height",
    "expression_likeness",
    "finger_likeness",
    "side_likeness",
    "largest_value",
    "largest_sample",
    "jitter_burst",
    "translation_jitter",
    "expression_jitter",
    "branch_flips",
    "pace",
    "clock",
    "speaker_clock",
    "backwards",
    "blank_frames",
    "blank_face_frames",
    "phone_like_words",
    "foreign_script",
    "edges_off_phones",
    "semantic_overlap",
    "semantic_duration_error",
)
"""Bounded columns without a distribution worth plotting.

They are 0 or 1 unless something is wrong, equal for all clips of a speaker, or far from their
bounds in every clean clip. Flagged clips have figures of them.
"""


def add_derived_columns(manifest: pd.DataFrame) -> pd.DataFrame:
    """Return the manifest with the columns that are computed from others."""
    words_per_minute = manifest["words"].astype("float64") / manifest["audio_seconds"] * 60
    return manifest.assign(words_per_minute=words_per_minute)


def measure_for(column: str) -> Measure:
    """Return the known measure of a column, or one with the column's name as its title."""
    for measure in KNOWN_MEASURES:
        if measure.column == column:
            return measure
    return Measure(column, column.replace("_", " ").capitalize())


def select_measures(table: pd.DataFrame, rules: Sequence[Rule]) -> list[Measure]:
    """Select the measures to plot: known ones first, then other columns that rules bound.

    Columns that are missing from the table or hold the same value everywhere are left out.
    """
    known = [measure.column for measure in KNOWN_MEASURES]
    bounded = [
        rule.column for rule in rules if rule.minimum is not None or rule.maximum is not None
    ]
    columns = [
        column
        for column in dict.fromkeys([*known, *bounded])
        if column in table and column not in NOT_PLOTTED
    ]
    return [measure_for(column) for column in columns if to_numbers(table[column]).nunique() > 1]


def to_numbers(column: pd.Series) -> "pd.Series[float]":
    """Convert a column to float64; missing values of any type become NaN."""
    return pd.to_numeric(column, errors="coerce").astype("float64")
