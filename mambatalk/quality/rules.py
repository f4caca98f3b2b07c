"""What a corpus must be before anybody trains on it: rules, each a bound on one column with one row
per clip.

A critical finding stops the pipeline, a quarantined clip is left out with its reason, a warning is
reported. The same list makes `mambatalk check` and the Great Expectations suites, so that the two
never disagree.
"""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from mambatalk.config import CheckClipsConfig, CheckFeaturesConfig
from mambatalk.motion.skeleton import FPS, SAMPLE_RATE
from mambatalk.quality.rule import Rule, Severity

COLUMNS = ("clip_id", "rule", "severity", "column", "found", "expected", "why")


STANDARD_BOUNDS = CheckClipsConfig(
    min_seconds=4.0,
    max_length_gap_seconds=8.0,
    max_joint_speed=60.0,
    max_translation_speed=8.0,
    max_frozen_seconds=1.0,
    max_silent_share=0.9,
    max_quarantined=0.25,
)
"""Bounds of all profiles, for a corpus that has no parameter file yet."""
LIMITS = {"trunk": 1.6, "arms": 2.9, "legs": 2.9, "jaw": 0.9, "eyes": 1.0, "hands": 2.7}
"""Radians that no joint of a group turns by in a person; the most seen in BEATX: 0.7, 2.4, 1.3,
0.1, 0.1 and 2.2.
"""
MAX_LAG = 0.2
"""Seconds; the two real clips measured are 0.07 off at most."""
MAX_SPEAKER_LAG = 0.15
"""Seconds; the median of a speaker's clips is surer than one clip."""


def clip_rules(config: CheckClipsConfig) -> list[Rule]:
    """Rules for the manifest of a clip store."""
    return [
        _rule(
            "readable", "quarantine", "fault", "a file is missing or cannot be read", absent=True
        ),
        _rule(
            "listed", "quarantine", "split", "the clip is in no split of the table", required=True
        ),
        *_motion_rules(config),
        *_sound_rules(config),
        *_text_rules(),
        *_kinship_rules(),
    ]


def _motion_rules(config: CheckClipsConfig) -> list[Rule]:
    return [
        _rule(
            "frame_rate",
            "quarantine",
            "fps",
            "motion at another rate plays too fast or too slow",
            allowed=(float(FPS),),
        ),
        _rule(
            "finite",
            "quarantine",
            "not_finite",
            "NaN or infinity in the motion poisons every loss",
            maximum=0,
        ),
        _rule(
            "long_enough",
            "quarantine",
            "motion_seconds",
            "too short for windows and metrics",
            minimum=config.min_seconds,
        ),
        _rule(
            "rotation_norm",
            "quarantine",
            "max_angle",
            "no axis-angle needs more than one turn",
            maximum=6.5,
        ),
        _rule(
            "joint_speed",
            "quarantine",
            "max_joint_speed",
            "a joint jumps (rad/s): tracking was lost",
            maximum=config.max_joint_speed,
        ),
        _rule(
            "frozen",
            "quarantine",
            "frozen_seconds",
            "the whole body stands still to the last bit (s)",
            maximum=config.max_frozen_seconds,
        ),
        _rule(
            "repeated",
            "quarantine",
            "repeated_share",
            "many frames are those before them: motion of a lower rate, or one whose tracking stuttered",
            maximum=0.3,
        ),
        _rule(
            "frozen_limb",
            "quarantine",
            "frozen_limb_seconds",
            "one arm stands still to the last bit (s) while the other moves: its tracking was lost",
            maximum=config.max_frozen_seconds,
        ),
        _rule(
            "upright",
            "quarantine",
            "tilt",
            "the body lies (rad from upright): another axis is up",
            maximum=1.0,
        ),
        _rule(
            "translation_speed",
            "quarantine",
            "max_translation_speed",
            "the body jumps (m/s)",
            maximum=config.max_translation_speed,
        ),
        _rule(
            "joint_jerk",
            "warning",
            "max_joint_acceleration",
            "a joint jerks (rad/s²)",
            maximum=1200,
        ),
        *(
            _rule(
                f"{group}_limit",
                "warning",
                f"angle_{group}",
                "a joint turns further (rad) than people's do",
                maximum=limit,
            )
            for group, limit in LIMITS.items()
        ),
        _rule(
            "room",
            "warning",
            "translation_range",
            "the body wanders far (m): drift, or a walk",
            maximum=4,
        ),
        _rule(
            "rise",
            "warning",
            "translation_rise",
            "the body rises or sinks far (m): drift, or a seat",
            maximum=0.9,
        ),
        _rule(
            "expression_range",
            "warning",
            "max_expression",
            "expressions far outside what faces do",
            maximum=15,
        ),
        _rule(
            "face_moves",
            "warning",
            "face_range",
            "the face never moves: it was not tracked",
            minimum=0.01,
        ),
        _rule(
            "shape_range", "warning", "max_beta", "a body shape far from any person's", maximum=6
        ),
    ]


def _sound_rules(config: CheckClipsConfig) -> list[Rule]:
    return [
        _rule(
            "same_length",
            "quarantine",
            "length_gap",
            "sound and motion end far apart: likely misaligned or of different recordings",
            minimum=-config.max_length_gap_seconds,
            maximum=config.max_length_gap_seconds,
        ),
        _rule("audible", "quarantine", "peak", "the sound is silent", minimum=0.01),
        _rule(
            "overdriven",
            "quarantine",
            "clipped_share",
            "most of the sound is beyond full scale: whole numbers in a float file, or a wrong gain",
            maximum=0.5,
        ),
        _rule(
            "same_pace",
            "warning",
            "length_ratio",
            "motion lasts another time than sound: a rate may be misstated",
            minimum=0.75,
            maximum=1.33,
        ),
        _rule(
            "mouth_fits_sound",
            "warning",
            "mouth_lag",
            "the mouth moves at other times than there is sound (s)",
            minimum=-MAX_LAG,
            maximum=MAX_LAG,
        ),
        _rule(
            "sample_rate", "warning", "sample_rate", "resampled to 16 kHz", allowed=(SAMPLE_RATE,)
        ),
        _rule("mono", "warning", "channels", "mixed down to one channel", allowed=(1,)),
        _rule(
            "container",
            "warning",
            "container",
            "no wav, whatever its name says",
            allowed=("WAV", "WAVEX"),
        ),
        _rule(
            "clipping", "warning", "clipped_share", "the sound is cut at full scale", maximum=0.001
        ),
        _rule(
            "dc_offset",
            "warning",
            "dc_offset",
            "the sound does not swing around zero",
            maximum=0.02,
        ),
        _rule(
            "silence",
            "warning",
            "silent_share",
            "most of the clip is silent",
            maximum=config.max_silent_share,
        ),
        _rule(
            "silent_start",
            "warning",
            "silent_start",
            "long silence before the first sound (s)",
            maximum=6,
        ),
        _rule(
            "silent_end",
            "warning",
            "silent_end",
            "long silence after the last sound (s)",
            maximum=6,
        ),
    ]


def _text_rules() -> list[Rule]:
    return [
        _rule(
            "text",
            "warning",
            "has_textgrid",
            "no words: the clip trains by sound alone",
            allowed=(True,),
        ),
        _rule(
            "text_covers_sound",
            "warning",
            "word_share",
            "hardly any of the sound has words",
            minimum=0.1,
        ),
        _rule(
            "text_fits_sound",
            "warning",
            "word_contrast",
            "words are no louder (dB) than the rest: the alignment is off",
            minimum=3,
        ),
        _rule(
            "text_in_time",
            "warning",
            "word_lag",
            "the sound is late against the words, or early (s)",
            minimum=-MAX_LAG,
            maximum=MAX_LAG,
        ),
        _rule(
            "text_ends_in_time",
            "warning",
            "words_past_end",
            "words after the sound's end (s)",
            maximum=0.1,
        ),
        _rule(
            "word_length",
            "warning",
            "longest_word",
            "no word takes so long (s): the alignment gave up",
            maximum=3,
        ),
        _rule(
            "words_apart", "warning", "word_overlap", "a word runs into the next (s)", maximum=0.05
        ),
        _rule(
            "semantic_label",
            "warning",
            "semantic_unknown",
            "semantic labels that BEAT does not know",
            maximum=0,
        ),
        _rule(
            "semantic_score",
            "warning",
            "semantic_score",
            "a semantic score is no share of one",
            maximum=1,
        ),
        _rule(
            "semantic_ends_in_time",
            "warning",
            "semantic_past_end",
            "semantics after the sound's end (s)",
            maximum=1,
        ),
    ]


def _kinship_rules() -> list[Rule]:
    return [
        _rule(
            "duplicate",
            "quarantine",
            "copies",
            "the same motion and sound under two ids",
            maximum=1,
        ),
        _rule(
            "same_motion",
            "quarantine",
            "motion_twin",
            "moves, for a while at least, exactly like another clip",
            absent=True,
        ),
        _rule(
            "same_sound",
            "warning",
            "sound_twin",
            "sounds exactly like a clip that moves otherwise",
            absent=True,
        ),
        _rule(
            "leak",
            "critical",
            "splits_of_content",
            "the same clip in two splits: every score would be too good",
            maximum=1,
        ),
        _rule(
            "leak_of_a_part",
            "critical",
            "part_leak",
            "motion or sound of a clip in another split: every score would be too good",
            absent=True,
        ),
        _rule(
            "speaker_lag",
            "quarantine",
            "speaker_lag",
            "in this speaker's clips the sound comes late, or early (s): an offset between recordings was missed",
            minimum=-MAX_SPEAKER_LAG,
            maximum=MAX_SPEAKER_LAG,
        ),
        _rule(
            "speaker_name",
            "warning",
            "speaker_names",
            "one speaker number with more names than one",
            maximum=1,
        ),
        _rule(
            "speaker_trains",
            "warning",
            "training_clips",
            "no clip of this speaker is trained on",
            minimum=1,
        ),
        _rule(
            "speaker_shape",
            "warning",
            "shape_share",
            "most clips of this speaker have another body",
            minimum=0.5,
        ),
    ]


def feature_rules(config: CheckFeaturesConfig) -> list[Rule]:
    """Rules for the table of feature clips."""
    return [
        _rule("finite", "critical", "not_finite", "features with NaN or infinity", maximum=0),
        _rule(
            "speaker_index",
            "critical",
            "speaker_index",
            "outside the speaker table",
            minimum=0,
            required=True,
        ),
        _rule(
            "split",
            "critical",
            "split",
            "no such split",
            allowed=("train", "val", "test", "additional"),
        ),
        _rule(
            "known_words",
            "warning",
            "unknown_words",
            "most words are not in the vocabulary",
            maximum=config.max_unknown_words,
        ),
        _rule(
            "speech",
            "warning",
            "silent_share",
            "most of the clip is silent",
            maximum=config.max_silent_share,
        ),
        _rule(
            "floor",
            "warning",
            "floor_height",
            "feet far from the floor (m): another up axis, or another body",
            minimum=-config.max_floor_offset,
            maximum=config.max_floor_offset,
        ),
        _rule(
            "floor_drift",
            "warning",
            "floor_drift",
            "the floor of the beginning is not that of the end (m)",
            maximum=0.15,
        ),
        _rule("skating", "warning", "foot_skate", "feet on the floor slide (m/s)", maximum=0.1),
        _rule(
            "contact",
            "warning",
            "contact_share",
            "feet never, or always, on the ground",
            minimum=0.02,
        ),
    ]


def apply_rules(table: pd.DataFrame, rules: Iterable[Rule]) -> pd.DataFrame:
    """Findings, one row each (COLUMNS), for a table with one row per clip and a column
    `clip_id`.
    """
    findings = []
    for rule in rules:
        if rule.column not in table:
            continue
        for index in table.index[rule.broken(table[rule.column])]:
            value = table.at[index, rule.column]
            findings.append(
                (
                    table.at[index, "clip_id"],
                    rule.name,
                    rule.severity,
                    rule.column,
                    _shown(value),
                    rule.expected,
                    rule.why,
                )
            )
    return pd.DataFrame(findings, columns=list(COLUMNS))


def verdict(
    table: pd.DataFrame, findings: pd.DataFrame, *, max_quarantined: float
) -> dict[str, Any]:
    """What becomes of the clips.

    Returns:
        `ok`; `accepted`, clip ids in order; `quarantined`, id to reasons; `critical`, reasons to
        stop; `warnings`, a count.

    """
    out = findings[findings["severity"] == "quarantine"]
    quarantined = {
        str(clip): [
            f"{row.rule}: {row.found}; expected {row.expected} ({row.why})"
            for row in rows.itertuples()
        ]
        for clip, rows in out.groupby("clip_id")
    }
    accepted = [clip for clip in table["clip_id"] if clip not in quarantined]
    splits = set(table.loc[table["clip_id"].isin(accepted), "split"])
    critical = [
        f"{row.clip_id}: {row.rule}: {row.found}; expected {row.expected} ({row.why})"
        for row in findings[findings["severity"] == "critical"].itertuples()
    ]
    critical += [
        f"split {split}: no clip is left" for split in ("train", "test") if split not in splits
    ]
    share = len(quarantined) / len(table)
    if share > max_quarantined:
        critical.append(
            f"{len(quarantined)} of {len(table)} clips quarantined; at most {max_quarantined:.0%} may be"
        )
    return {
        "ok": not critical,
        "accepted": accepted,
        "quarantined": quarantined,
        "critical": critical,
        "warnings": int((findings["severity"] == "warning").sum()),
    }


def _rule(name: str, severity: Severity, column: str, why: str, **bounds: Any) -> Rule:
    return Rule(name=name, severity=severity, column=column, why=why, **bounds)


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
