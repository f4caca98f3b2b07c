"""What a corpus must be before anybody trains on it: rules, each a bound on one column with one row per clip.

A critical finding stops the pipeline, a quarantined clip is left out with its reason, a warning is reported. The same
list makes `mambatalk check` and the Great Expectations suites, so that the two never disagree.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from mambatalk.config import CheckClipsConfig, CheckFeaturesConfig
from mambatalk.motion.skeleton import FPS, SAMPLE_RATE

Severity = Literal["critical", "quarantine", "warning"]
COLUMNS = ("clip_id", "rule", "severity", "column", "found", "expected", "why")


STANDARD_BOUNDS = CheckClipsConfig(
    min_seconds=4.0, max_length_gap_seconds=8.0, max_joint_speed=60.0, max_translation_speed=8.0,
    max_frozen_seconds=1.0, max_silent_share=0.9, max_quarantined=0.25)
"""Bounds of all profiles, for a corpus that has no parameter file yet."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A bound on one column of the table of clips.

    Null passes unless `required`: a clip without a TextGrid has no words to judge.
    """

    name: str
    severity: Severity
    column: str
    why: str
    """What a value out of bounds means and does."""
    minimum: float | None = None
    maximum: float | None = None
    allowed: tuple[Any, ...] | None = None
    required: bool = False
    absent: bool = False
    """The column must be null: it holds a fault."""

    @property
    def expected(self) -> str:
        """The bound in words."""
        if self.absent:
            return "none"
        if self.allowed is not None:
            return " or ".join(str(value) for value in self.allowed)
        if self.minimum is None and self.maximum is None:
            return "a value"
        if self.minimum is None:
            return f"at most {self.maximum:g}"
        return f"at least {self.minimum:g}" if self.maximum is None else f"{self.minimum:g} to {self.maximum:g}"

    def broken(self, values: "pd.Series[Any]") -> "pd.Series[bool]":
        """Which values break the rule."""
        if self.absent:
            return values.notna()
        null = values.isna()
        bad = pd.Series(False, index=values.index)
        if self.allowed is not None:
            bad = ~values.isin(self.allowed)
        if self.minimum is not None:
            bad |= pd.to_numeric(values) < self.minimum
        if self.maximum is not None:
            bad |= pd.to_numeric(values) > self.maximum
        return (bad & ~null) | (null & self.required)


def clip_rules(config: CheckClipsConfig) -> list[Rule]:
    """Rules for the manifest of a clip store."""
    def rule(name: str, severity: Severity, column: str, why: str, **bounds: Any) -> Rule:
        return Rule(name=name, severity=severity, column=column, why=why, **bounds)

    return [
        rule("readable", "quarantine", "fault", "a file is missing or cannot be read", absent=True),
        rule("listed", "quarantine", "split", "the clip is in no split of the table", required=True),
        rule("frame_rate", "quarantine", "fps", "motion at another rate plays too fast or too slow",
             allowed=(float(FPS),)),
        rule("finite", "quarantine", "not_finite", "NaN or infinity in the motion poisons every loss", maximum=0),
        rule("long_enough", "quarantine", "motion_seconds", "too short for windows and metrics",
             minimum=config.min_seconds),
        rule("same_length", "quarantine", "length_gap",
             "sound and motion end far apart: likely misaligned or of different recordings",
             minimum=-config.max_length_gap_seconds, maximum=config.max_length_gap_seconds),
        rule("rotation_norm", "quarantine", "max_angle", "no axis-angle needs more than one turn", maximum=6.5),
        rule("joint_speed", "quarantine", "max_joint_speed", "a joint jumps (rad/s): tracking was lost",
             maximum=config.max_joint_speed),
        rule("frozen", "quarantine", "frozen_seconds", "the whole body stands still to the last bit: tracking was lost",
             maximum=config.max_frozen_seconds),
        rule("translation_speed", "quarantine", "max_translation_speed", "the body jumps (m/s)",
             maximum=config.max_translation_speed),
        rule("audible", "quarantine", "peak", "the sound is silent", minimum=0.01),
        rule("duplicate", "quarantine", "copies", "the same motion and sound under two ids", maximum=1),
        rule("leak", "critical", "splits_of_content", "the same clip in two splits: every score would be too good",
             maximum=1),
        rule("sample_rate", "warning", "sample_rate", "resampled to 16 kHz", allowed=(SAMPLE_RATE,)),
        rule("mono", "warning", "channels", "mixed down to one channel", allowed=(1,)),
        rule("container", "warning", "container", "no wav, whatever its name says", allowed=("WAV", "WAVEX")),
        rule("clipping", "warning", "clipped_share", "the sound is cut at full scale", maximum=0.001),
        rule("silence", "warning", "silent_share", "most of the clip is silent", maximum=config.max_silent_share),
        rule("joint_jerk", "warning", "max_joint_acceleration", "a joint jerks (rad/s²)", maximum=2000),
        rule("room", "warning", "translation_range", "the body wanders far (m): drift, or a walk", maximum=4),
        rule("expression_range", "warning", "max_expression", "expressions far outside what faces do", maximum=15),
        rule("shape_range", "warning", "max_beta", "a body shape far from any person's", maximum=6),
        rule("text", "warning", "has_textgrid", "no words: the clip trains by sound alone", allowed=(True,)),
        rule("text_covers_sound", "warning", "word_share", "hardly any of the sound has words", minimum=0.1),
        rule("text_fits_sound", "warning", "word_contrast",
             "words are no louder (dB) than the rest: the alignment is off", minimum=3),
        rule("text_ends_in_time", "warning", "words_past_end", "words after the sound's end (s)", maximum=0.1),
    ]


def feature_rules(config: CheckFeaturesConfig) -> list[Rule]:
    """Rules for the table of feature clips."""
    def rule(name: str, severity: Severity, column: str, why: str, **bounds: Any) -> Rule:
        return Rule(name=name, severity=severity, column=column, why=why, **bounds)

    return [
        rule("finite", "critical", "not_finite", "features with NaN or infinity", maximum=0),
        rule("speaker_index", "critical", "speaker_index", "outside the speaker table", minimum=0, required=True),
        rule("split", "critical", "split", "no such split", allowed=("train", "val", "test", "additional")),
        rule("known_words", "warning", "unknown_words", "most words are not in the vocabulary",
             maximum=config.max_unknown_words),
        rule("speech", "warning", "silent_share", "most of the clip is silent", maximum=config.max_silent_share),
        rule("floor", "warning", "floor_height", "feet far from the floor (m): another up axis, or another body",
             minimum=-config.max_floor_offset, maximum=config.max_floor_offset),
        rule("skating", "warning", "foot_skate", "planted feet slide (m/s)", maximum=0.3),
        rule("contact", "warning", "contact_share", "feet never, or always, on the ground", minimum=0.02),
    ]


def apply_rules(table: pd.DataFrame, rules: Iterable[Rule]) -> pd.DataFrame:
    """Findings, one row each (COLUMNS), for a table with one row per clip and a column `clip_id`."""
    findings = []
    for rule in rules:
        if rule.column not in table:
            continue
        for index in table.index[rule.broken(table[rule.column])]:
            value = table.at[index, rule.column]
            findings.append((table.at[index, "clip_id"], rule.name, rule.severity, rule.column, _shown(value),
                             rule.expected, rule.why))
    return pd.DataFrame(findings, columns=list(COLUMNS))


def verdict(table: pd.DataFrame, findings: pd.DataFrame, *, max_quarantined: float) -> dict[str, Any]:
    """What becomes of the clips.

    Returns:
        `ok`; `accepted`, clip ids in order; `quarantined`, id to reasons; `critical`, reasons to stop; `warnings`, a
        count.

    """
    out = findings[findings["severity"] == "quarantine"]
    quarantined = {str(clip): [f"{row.rule}: {row.found}; expected {row.expected} ({row.why})"
                               for row in rows.itertuples()] for clip, rows in out.groupby("clip_id")}
    accepted = [clip for clip in table["clip_id"] if clip not in quarantined]
    splits = set(table.loc[table["clip_id"].isin(accepted), "split"])
    critical = [f"{row.clip_id}: {row.rule}: {row.found}; expected {row.expected} ({row.why})"
                for row in findings[findings["severity"] == "critical"].itertuples()]
    critical += [f"split {split}: no clip is left" for split in ("train", "test") if split not in splits]
    share = len(quarantined) / len(table)
    if share > max_quarantined:
        critical.append(f"{len(quarantined)} of {len(table)} clips quarantined; at most {max_quarantined:.0%} may be")
    return {"ok": not critical, "accepted": accepted, "quarantined": quarantined, "critical": critical,
            "warnings": int((findings["severity"] == "warning").sum())}


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
