"""Rules, findings and verdict; tests/faults plants the fault that each rule is for."""

from pathlib import Path
from typing import Any

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
