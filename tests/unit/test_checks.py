"""Rules find planted faults, each by its name, and nothing on clean clips."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mambatalk.config import CheckFeaturesConfig, load_config
from mambatalk.data.checks import STANDARD_BOUNDS, apply_rules, clip_rules, feature_rules, verdict

ROOT = Path(__file__).parents[2]
CLEAN = {
    "speaker": 1, "split": "train", "fault": None, "fps": 30.0, "not_finite": 0, "motion_seconds": 20.0,
    "length_gap": 0.3, "max_angle": 2.5, "max_joint_speed": 12.0, "frozen_seconds": 0.0, "max_translation_speed": 0.5,
    "peak": 0.6, "copies": 1.0, "splits_of_content": 1.0, "sample_rate": 16000, "channels": 1, "container": "WAV",
    "clipped_share": 0.0, "silent_share": 0.3, "max_joint_acceleration": 300.0, "translation_range": 1.0,
    "max_expression": 5.0, "max_beta": 2.5, "has_textgrid": True, "word_share": 0.8, "word_contrast": 20.0,
    "words_past_end": 0.0,
}
FEATURES = {
    "not_finite": 0, "speaker_index": 1, "split": "train", "unknown_words": 0.1, "silent_share": 0.2,
    "floor_height": 0.01, "foot_skate": 0.02, "contact_share": 0.9,
}
FEATURE_BOUNDS = CheckFeaturesConfig(max_unknown_words=0.5, max_silent_share=0.9, max_floor_offset=0.3)


def table(clean, **planted):
    rows = [{"clip_id": f"{k}_clip_0_{k}_{k}", **clean} for k in range(1, 5)]
    rows[0] |= {"split": "test"} if "split" in clean else {}
    rows[1] |= planted
    return pd.DataFrame(rows)


def found(findings):
    return {(row.clip_id, row.rule) for row in findings.itertuples()}


def test_clean_clips_have_no_findings():
    assert apply_rules(table(CLEAN), clip_rules(STANDARD_BOUNDS)).empty
    assert apply_rules(table(FEATURES), feature_rules(FEATURE_BOUNDS)).empty


@pytest.mark.parametrize(("column", "value", "rule"), [
    ("fault", "a file: broken", "readable"), ("split", None, "listed"), ("fps", 25.0, "frame_rate"),
    ("not_finite", 3, "finite"), ("motion_seconds", 1.0, "long_enough"), ("length_gap", 22.0, "same_length"),
    ("length_gap", -9.0, "same_length"), ("max_angle", 50.0, "rotation_norm"),
    ("max_joint_speed", 90.0, "joint_speed"),
    ("frozen_seconds", 3.0, "frozen"), ("max_translation_speed", 20.0, "translation_speed"), ("peak", 0.0, "audible"),
    ("copies", 2.0, "duplicate"), ("splits_of_content", 2.0, "leak"), ("sample_rate", 44100, "sample_rate"),
    ("channels", 2, "mono"), ("container", "MP3", "container"), ("clipped_share", 0.1, "clipping"),
    ("silent_share", 0.99, "silence"), ("max_joint_acceleration", 1e4, "joint_jerk"),
    ("translation_range", 9.0, "room"),
    ("max_expression", 99.0, "expression_range"), ("max_beta", 30.0, "shape_range"), ("has_textgrid", False, "text"),
    ("word_share", 0.0, "text_covers_sound"), ("word_contrast", -2.0, "text_fits_sound"),
    ("words_past_end", 4.0, "text_ends_in_time"),
])
def test_each_planted_fault_is_found_by_its_rule_alone(column, value, rule):
    assert found(apply_rules(table(CLEAN, **{column: value}), clip_rules(STANDARD_BOUNDS))) == {("2_clip_0_2_2", rule)}


@pytest.mark.parametrize(("column", "value", "rule"), [
    ("not_finite", 1, "finite"), ("speaker_index", np.nan, "speaker_index"), ("split", "all", "split"),
    ("unknown_words", 0.9, "known_words"), ("silent_share", 1.0, "speech"), ("floor_height", -1.0, "floor"),
    ("foot_skate", 0.8, "skating"), ("contact_share", 0.0, "contact"),
])
def test_each_planted_feature_fault_is_found(column, value, rule):
    assert found(apply_rules(table(FEATURES, **{column: value}), feature_rules(FEATURE_BOUNDS))) == {
        ("2_clip_0_2_2", rule)}


def test_a_quarantined_clip_is_left_out_with_its_reason():
    clips = table(CLEAN, motion_seconds=1.0)
    result = verdict(clips, apply_rules(clips, clip_rules(STANDARD_BOUNDS)), max_quarantined=0.5)
    assert result["ok"]
    assert "2_clip_0_2_2" not in result["accepted"]
    assert len(result["accepted"]) == 3
    assert "long_enough: 1; expected at least 4" in result["quarantined"]["2_clip_0_2_2"][0]


def test_an_empty_split_a_leak_and_too_many_bad_clips_are_critical():
    clips = table(CLEAN, splits_of_content=2.0)
    clips.loc[0, "motion_seconds"] = 1.0  # The only test clip.
    result = verdict(clips, apply_rules(clips, clip_rules(STANDARD_BOUNDS)), max_quarantined=0.1)
    assert not result["ok"]
    assert len(result["critical"]) == 3
    assert any("split test" in line for line in result["critical"])


def test_the_standard_bounds_are_those_of_params_yaml():
    assert load_config(ROOT / "params.yaml").check_clips == STANDARD_BOUNDS
