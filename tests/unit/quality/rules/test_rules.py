"""Rules, findings and verdict; tests/faults plants the fault that each rule is for."""

import dataclasses
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mambatalk.config import CheckFeaturesConfig, load_config
from mambatalk.quality.rules.catalogue import STANDARD_BOUNDS, clip_rules, feature_rules
from mambatalk.quality.rules.measured import MEASURED
from mambatalk.quality.rules.rule import Rule, explain
from mambatalk.quality.rules.verdict import apply_rules, verdict

ROOT = Path(__file__).parents[4]
CLEAN = {
    "split": "train",
    "fault": None,
    "fps": 30.0,
    "motion_seconds": 20.0,
    "splits_of_content": 1.0,
}
CLEAN_FEATURES = {"not_finite": 0, "speaker_index": 1, "split": "train"}
FEATURE_BOUNDS = CheckFeaturesConfig(
    max_unknown_words=0.5, max_silent_share=0.9, max_floor_offset=0.3
)


def manifest(**planted: Any) -> pd.DataFrame:
    """Four clips, the first in the test split, the second with the planted values."""
    rows = [{"clip_id": f"{k}_clip_0_{k}_{k}", **CLEAN} for k in range(1, 5)]
    rows[0]["split"] = "test"
    rows[1] |= planted
    return pd.DataFrame(rows)


def verdict_on(table: pd.DataFrame, *, max_quarantined: float) -> dict[str, Any]:
    findings = apply_rules(table, clip_rules(STANDARD_BOUNDS))
    return verdict(table, findings, max_quarantined=max_quarantined)


@pytest.mark.parametrize(
    ("bounds", "values", "violations", "expected"),
    [
        ({"minimum": 2}, [1, 2, None], [True, False, False], "at least 2"),
        ({"maximum": 2}, [2, 3, None], [False, True, False], "at most 2"),
        ({"minimum": 1, "maximum": 2}, [0, 1.5, 3], [True, False, True], "1 to 2"),
        ({"allowed": ("a", "b")}, ["a", "c", None], [False, True, False], "a or b"),
        ({"required": True}, ["a", None], [False, True], "a value"),
        ({"absent": True}, ["a fault", None], [True, False], "none"),
    ],
    ids=["minimum", "maximum", "both", "allowed", "required", "absent"],
)
def test_a_rule_finds_violations_and_describes_its_bound(
    bounds: dict[str, Any], values: list[Any], violations: list[bool], expected: str
) -> None:
    rule = Rule(name="rule", severity="warning", column="column", reason="", **bounds)
    assert list(rule.violations(pd.Series(values))) == violations
    assert rule.expected == expected


def test_rules_on_missing_columns_are_skipped() -> None:
    assert apply_rules(manifest(), clip_rules(STANDARD_BOUNDS)).empty


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("not_finite", 1, "finite"),
        ("speaker_index", float("nan"), "speaker_index"),
        ("split", "all", "split"),
    ],
)
def test_features_that_only_a_bug_can_produce_are_critical(
    column: str, value: Any, rule: str
) -> None:
    rows = [
        {"clip_id": "0", **CLEAN_FEATURES},
        {"clip_id": "1", **CLEAN_FEATURES, column: value},
    ]
    findings = apply_rules(pd.DataFrame(rows), feature_rules(FEATURE_BOUNDS))
    assert findings[["clip_id", "rule", "severity"]].values.tolist() == [["1", rule, "critical"]]


def test_a_quarantined_clip_is_left_out_with_its_reason() -> None:
    result = verdict_on(manifest(motion_seconds=1.0), max_quarantined=0.5)
    assert result["ok"]
    assert "2_clip_0_2_2" not in result["accepted"]
    assert len(result["accepted"]) == 3
    assert "long_enough: expected at least 4, found 1" in result["quarantined"]["2_clip_0_2_2"][0]


def test_a_leak_an_empty_split_and_too_many_quarantined_clips_are_critical() -> None:
    table = manifest(splits_of_content=2.0)
    table.loc[0, "motion_seconds"] = 1.0  # The only test clip.
    result = verdict_on(table, max_quarantined=0.1)
    assert not result["ok"]
    assert len(result["critical"]) == 3
    assert any("split test" in reason for reason in result["critical"])


def test_the_standard_bounds_are_those_of_params_yaml() -> None:
    assert load_config(ROOT / "params.yaml").check_clips == STANDARD_BOUNDS


def bounds_of(rules: list[Rule]) -> list[tuple[object, ...]]:
    """Each rule as name, severity, column, and its bound as the page words it."""
    return [(rule.name, rule.severity, rule.column, rule.expected) for rule in rules]


# Whoever moves a bound, or the column that it is for, has to say so here.
CLIP_RULES = [
    ("readable", "quarantine", "fault", "none"),
    ("listed", "quarantine", "split", "a value"),
    ("frame_rate", "quarantine", "fps", "30.0"),
    ("finite", "quarantine", "not_finite", "at most 0"),
    ("long_enough", "quarantine", "motion_seconds", "at least 4"),
    ("rotation_norm", "quarantine", "max_angle", "at most 6.5"),
    ("joint_speed", "quarantine", "max_joint_speed", "at most 60"),
    ("frozen", "quarantine", "frozen_seconds", "at most 1"),
    ("repeated", "quarantine", "repeated_share", "at most 0.3"),
    ("frozen_limb", "quarantine", "frozen_limb_seconds", "at most 1"),
    ("upright", "quarantine", "tilt", "at most 1"),
    ("translation_speed", "quarantine", "max_translation_speed", "at most 8"),
    ("joint_jerk", "warning", "max_joint_acceleration", "at most 1200"),
    ("trunk_limit", "warning", "angle_trunk", "at most 1.6"),
    ("arms_limit", "warning", "angle_arms", "at most 2.9"),
    ("legs_limit", "warning", "angle_legs", "at most 2.9"),
    ("jaw_limit", "warning", "angle_jaw", "at most 0.9"),
    ("eyes_limit", "warning", "angle_eyes", "at most 1"),
    ("hands_limit", "warning", "angle_hands", "at most 2.7"),
    ("room", "warning", "translation_range", "at most 4"),
    ("rise", "warning", "translation_rise", "at most 0.9"),
    ("expression_range", "warning", "max_expression", "at most 15"),
    ("face_moves", "warning", "face_range", "at least 0.01"),
    ("shape_range", "warning", "max_beta", "at most 6"),
    ("same_length", "quarantine", "length_gap", "-8 to 8"),
    ("audible", "quarantine", "peak", "at least 0.01"),
    ("overdriven", "quarantine", "clipped_share", "at most 0.5"),
    ("same_pace", "warning", "length_ratio", "0.75 to 1.33"),
    ("mouth_fits_sound", "warning", "mouth_lag", "-0.2 to 0.2"),
    ("sample_rate", "warning", "sample_rate", "16000"),
    ("mono", "warning", "channels", "1"),
    ("container", "warning", "container", "WAV or WAVEX"),
    ("clipping", "warning", "clipped_share", "at most 0.001"),
    ("dc_offset", "warning", "dc_offset", "at most 0.02"),
    ("silence", "warning", "silent_share", "at most 0.9"),
    ("silent_start", "warning", "silent_start", "at most 6"),
    ("silent_end", "warning", "silent_end", "at most 6"),
    ("text", "warning", "has_textgrid", "True"),
    ("text_covers_sound", "warning", "word_share", "at least 0.1"),
    ("text_fits_sound", "warning", "word_contrast", "at least 3"),
    ("text_in_time", "warning", "word_lag", "-0.2 to 0.2"),
    ("text_ends_in_time", "warning", "words_past_end", "at most 0.1"),
    ("word_length", "warning", "longest_word", "at most 3"),
    ("words_apart", "warning", "word_overlap", "at most 0.05"),
    ("semantic_label", "warning", "semantic_unknown", "at most 0"),
    ("semantic_score", "warning", "semantic_score", "at most 1"),
    ("semantic_ends_in_time", "warning", "semantic_past_end", "at most 1"),
    ("frame_rate_fits_sound", "quarantine", "pace", "0.996 to 1.004"),
    ("clock", "warning", "clock", "0.996 to 1.004"),
    ("speaker_clock", "warning", "speaker_clock", "0.996 to 1.004"),
    ("forwards", "quarantine", "backwards", "at most 1.5"),
    ("strokes_fit_sound", "warning", "stroke_lag", "-0.35 to 0.35"),
    ("no_cut", "warning", "cut", "at most 3"),
    ("frames_in_order", "quarantine", "order", "at least 1.45"),
    ("no_blank_frames", "quarantine", "blank_frames", "at most 0"),
    ("no_blank_face", "warning", "blank_face_frames", "at most 0"),
    ("held", "warning", "frozen_seconds", "at most 0.3"),
    ("words_are_words", "quarantine", "phone_like_words", "at most 0.5"),
    ("phones_in_words", "warning", "phones_per_word", "at least 1.2"),
    ("words_differ", "warning", "repeated_word", "at most 0.4"),
    ("words_fit_phones", "warning", "edges_off_phones", "at most 0.2"),
    ("words_in_order", "warning", "word_length_fit", "at least 0.4"),
    ("all_speech_has_words", "warning", "unlabelled_speech", "at most 3"),
    ("language_fits_id", "warning", "foreign_script", "at most 0.3"),
    ("id_agrees", "warning", "id_conflict", "none"),
    ("semantics_apart", "warning", "semantic_overlap", "at most 0.05"),
    ("semantic_duration", "warning", "semantic_duration_error", "at most 0.1"),
    ("duplicate", "quarantine", "copies", "at most 1"),
    ("same_motion", "quarantine", "motion_duplicate", "none"),
    ("same_sound", "warning", "audio_duplicate", "none"),
    ("leak", "critical", "splits_of_content", "at most 1"),
    ("leak_of_a_part", "critical", "split_leak", "none"),
    ("speaker_lag", "quarantine", "speaker_lag", "-0.15 to 0.15"),
    ("speaker_name", "warning", "speaker_names", "at most 1"),
    ("speaker_trains", "warning", "training_clips", "at least 1"),
    ("speaker_shape", "warning", "shape_share", "at least 0.51"),
    ("same_voice", "warning", "voice_distance", "at most 0.55"),
    ("voice_of_speaker", "warning", "voice_of", "none"),
    ("body_of_speaker", "warning", "shape_of", "none"),
    ("translation", "quarantine", "translation_fault", "none"),
    ("on_floor", "quarantine", "foot_height", "-0.3 to 0.3"),
    ("elbows_bend", "quarantine", "elbow_bend", "at least -0.2"),
    ("elbow_axis", "quarantine", "elbow_axis", "at least 0.4"),
    ("finger_order", "quarantine", "finger_order", "at least -0.2"),
    ("frozen_jaw", "quarantine", "frozen_jaw_seconds", "at most 8"),
    ("frozen_left_hand", "quarantine", "frozen_left_hand_seconds", "at most 8"),
    ("frozen_right_hand", "quarantine", "frozen_right_hand_seconds", "at most 8"),
    ("frozen_arms", "quarantine", "frozen_arms_seconds", "at most 8"),
    ("frozen_legs", "quarantine", "frozen_legs_seconds", "at most 8"),
    ("frozen_face", "quarantine", "frozen_face_seconds", "at most 8"),
    ("face_agrees", "quarantine", "face_agreement", "at least 0.25"),
    ("absurd_value", "quarantine", "largest_value", "at most 10000"),
    ("absurd_sample", "quarantine", "largest_sample", "at most 100000"),
    ("trembles", "quarantine", "jitter", "at most 0.012"),
    ("trembles_at_times", "warning", "jitter_burst", "at most 0.03"),
    ("place_trembles", "quarantine", "translation_jitter", "at most 0.005"),
    ("face_trembles", "warning", "expression_jitter", "at most 0.4"),
    ("one_branch", "warning", "branch_flips", "at most 0"),
    ("usual_jaw", "warning", "z_activity_jaw", "-8 to 8"),
    ("usual_left_hand", "warning", "z_activity_left_hand", "-8 to 8"),
    ("usual_right_hand", "warning", "z_activity_right_hand", "-8 to 8"),
    ("usual_arms", "warning", "z_activity_arms", "-8 to 8"),
    ("usual_legs", "warning", "z_activity_legs", "-8 to 8"),
    ("usual_face", "warning", "z_activity_face", "-8 to 8"),
    ("usual_floor", "warning", "z_foot_height", "-8 to 8"),
    ("expression_order", "quarantine", "expression_likeness", "at least 0.4"),
    ("usual_fingers", "warning", "finger_likeness", "at least 0.9"),
    ("usual_sides", "warning", "side_likeness", "at least -0.2"),
]
FEATURE_RULES = [
    ("finite", "critical", "not_finite", "at most 0"),
    ("speaker_index", "critical", "speaker_index", "at least 0"),
    ("split", "critical", "split", "train or val or test or additional"),
    ("known_words", "warning", "unknown_words", "at most 0.5"),
    ("speech", "warning", "silent_share", "at most 0.9"),
    ("floor", "warning", "floor_height", "-0.3 to 0.3"),
    ("floor_drift", "warning", "floor_drift", "at most 0.15"),
    ("skating", "warning", "foot_skate", "at most 0.1"),
    ("contact", "warning", "contact_share", "at least 0.02"),
]


def test_what_is_checked_and_how_strictly() -> None:
    assert bounds_of(clip_rules(STANDARD_BOUNDS)) == CLIP_RULES
    assert bounds_of(feature_rules(FEATURE_BOUNDS)) == FEATURE_RULES


def test_every_rule_has_a_reason_in_words() -> None:
    for rule in clip_rules(STANDARD_BOUNDS) + feature_rules(FEATURE_BOUNDS):
        assert len(rule.reason.split()) > 3, rule.name


def test_a_clip_without_a_split_is_quarantined() -> None:
    result = verdict_on(manifest(split=None), max_quarantined=0.5)
    assert "listed: expected a value" in result["quarantined"]["2_clip_0_2_2"][0]


def test_warnings_are_counted_and_stop_nothing() -> None:
    table = manifest(max_beta=6.123456)
    table["max_beta"] = table["max_beta"].fillna(0.0)
    findings = apply_rules(table, clip_rules(STANDARD_BOUNDS))
    result = verdict(table, findings, max_quarantined=0.25)
    assert result["ok"]
    assert result["warnings"] == 1
    assert len(result["accepted"]) == 4


def test_the_largest_share_of_quarantined_clips_is_allowed() -> None:
    assert verdict_on(manifest(motion_seconds=1.0), max_quarantined=0.25)["ok"]
    result = verdict_on(manifest(motion_seconds=1.0), max_quarantined=0.2)
    assert result["critical"] == ["1 of 4 clips quarantined; at most 20% may be"]


def test_a_measured_value_has_four_digits() -> None:
    result = verdict_on(manifest(motion_seconds=1.234567), max_quarantined=0.5)
    assert "found 1.235" in result["quarantined"]["2_clip_0_2_2"][0]


def test_clean_clips_keep_the_bounds() -> None:
    """The values that `--explain` quotes as those of clean clips break no rule."""
    for rule in clip_rules(STANDARD_BOUNDS):
        for values in MEASURED.get(rule.column, ()):
            if values is not None and rule.allowed is None:
                assert not rule.violations(pd.Series(values)).any(), rule.name


@pytest.mark.parametrize("parameter", ["max_jitter", "min_seconds", "max_length_gap_seconds"])
def test_a_rule_names_the_parameter_that_sets_its_bound(parameter: str) -> None:
    changed = dataclasses.replace(STANDARD_BOUNDS, **{parameter: 0.5})
    before = {rule.name: rule for rule in clip_rules(STANDARD_BOUNDS)}
    for rule in clip_rules(changed):
        assert (rule != before[rule.name]) == (rule.parameter == parameter)


def test_the_explanation_of_a_rule_has_bound_reason_and_advice() -> None:
    rules = {rule.name: rule for rule in clip_rules(STANDARD_BOUNDS)}
    lines = explain(rules["trembles"])
    assert "trembles (quarantine)" in lines[0]
    assert "at most 0.012, set by check_clips.max_jitter" in lines[1]
    assert [line.split(":")[0] for line in lines[2:]] == [
        "why this bound",
        "clean clips",
        "what to do",
        "effect",
    ]
