"""What rules make of a table of clips, and what becomes of the clips; tests/faults plants what each
rule is for.
"""

from pathlib import Path

import pandas as pd
import pytest

from mambatalk.config import CheckFeaturesConfig, load_config
from mambatalk.quality.rule import Rule
from mambatalk.quality.rules import STANDARD_BOUNDS, apply_rules, clip_rules, feature_rules, verdict

ROOT = Path(__file__).parents[3]
CLEAN = {
    "split": "train",
    "fault": None,
    "fps": 30.0,
    "motion_seconds": 20.0,
    "splits_of_content": 1.0,
}
FEATURES = {"not_finite": 0, "speaker_index": 1, "split": "train"}
BOUNDS = CheckFeaturesConfig(max_unknown_words=0.5, max_silent_share=0.9, max_floor_offset=0.3)


def table(**planted):
    rows = [{"clip_id": f"{k}_clip_0_{k}_{k}", **CLEAN} for k in range(1, 5)]
    rows[0]["split"] = "test"
    rows[1] |= planted
    return pd.DataFrame(rows)


def judged(clips, **bounds):
    return verdict(clips, apply_rules(clips, clip_rules(STANDARD_BOUNDS)), **bounds)


@pytest.mark.parametrize(
    ("bounds", "values", "broken", "expected"),
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
def test_a_rule_says_what_breaks_it_and_what_it_expects(bounds, values, broken, expected):
    rule = Rule(name="rule", severity="warning", column="column", why="", **bounds)
    assert list(rule.broken(pd.Series(values))) == broken
    assert rule.expected == expected


def test_a_table_without_a_column_is_not_judged_by_it():
    assert apply_rules(table(), clip_rules(STANDARD_BOUNDS)).empty


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("not_finite", 1, "finite"),
        ("speaker_index", float("nan"), "speaker_index"),
        ("split", "all", "split"),
    ],
)
def test_features_that_no_corpus_leads_to_are_critical(column, value, rule):
    """Only a fault of the code before makes them."""
    rows = [{"clip_id": str(k), **FEATURES, **({column: value} if k else {})} for k in range(2)]
    found = apply_rules(pd.DataFrame(rows), feature_rules(BOUNDS))
    assert list(zip(found["clip_id"], found["rule"], found["severity"], strict=True)) == [
        ("1", rule, "critical")
    ]


def test_a_quarantined_clip_is_left_out_with_its_reason():
    result = judged(table(motion_seconds=1.0), max_quarantined=0.5)
    assert result["ok"]
    assert "2_clip_0_2_2" not in result["accepted"]
    assert len(result["accepted"]) == 3
    assert "long_enough: 1; expected at least 4" in result["quarantined"]["2_clip_0_2_2"][0]


def test_an_empty_split_a_leak_and_too_many_bad_clips_are_critical():
    clips = table(splits_of_content=2.0)
    clips.loc[0, "motion_seconds"] = 1.0  # The only test clip.
    result = judged(clips, max_quarantined=0.1)
    assert not result["ok"]
    assert len(result["critical"]) == 3
    assert any("split test" in line for line in result["critical"])


def test_the_standard_bounds_are_those_of_params_yaml():
    assert load_config(ROOT / "params.yaml").check_clips == STANDARD_BOUNDS
