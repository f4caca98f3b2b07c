"""Every rule appears with its result, and the verdict follows from all of them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mambatalk.config import load_config
from tasks.gate.budget import Budget
from tasks.gate.differences import Difference
from tasks.gate.rules import (
    COMPARED,
    Comparison,
    Rule,
    Status,
    budget_rules,
    comparison_rules,
    floor_rules,
    verdict_of,
)

CONFIG = replace(
    load_config(Path(__file__).parents[4] / "params.yaml").promotion,
    min_clips=5,
    min_gain=0.1,
    tolerance=0.2,
    exclude_loss=list(COMPARED),
    beat_mean_pose=["fgd"],
    beat_random_clip=[],
)


def compared(key: str, low: float, high: float) -> Comparison:
    worse = (low + high) / 2
    return Comparison(
        difference=Difference(
            key=key, first=1 + worse, second=1.0, truth=None, worse=worse, low=low, high=high
        ),
        scale=1.0,
    )


def comparisons(**changes: tuple[float, float] | None) -> dict[str, Comparison | None]:
    """Return comparisons that show a gain in FGD and no loss, but for the changes."""
    bounds: dict[str, tuple[float, float] | None] = dict.fromkeys(COMPARED, (-0.05, 0.05))
    bounds |= {"fgd": (-0.5, -0.3), **changes}
    return {key: compared(key, *found) if found else None for key, found in bounds.items()}


def verdict(found: Any, clips: int = 5) -> str:
    return verdict_of(list(comparison_rules(CONFIG, found, clips)), has_champion=True)[0]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "promote"),
        ({"fgd": (-0.05, 0.05), "kid": (-0.5, -0.3)}, "promote"),
        # The gain is within chance, or smaller than it must be.
        ({"fgd": (-0.5, -0.05)}, "inconclusive"),
        ({"fgd": (-0.05, 0.05)}, "reject"),
        # Another metric is worse, may be worse, or is undefined.
        ({"mse": (0.3, 0.5)}, "reject"),
        ({"bc": (-0.1, 0.5)}, "inconclusive"),
        ({"foot_skating": None}, "inconclusive"),
        ({"kid": (0.3, 0.5)}, "reject"),
    ],
)
def test_the_verdict_needs_a_gain_and_no_loss(changes: dict[str, Any], expected: str) -> None:
    assert verdict(comparisons(**changes)) == expected


@pytest.mark.parametrize(
    ("found", "expected"),
    [((-0.1, 0.5), "promote"), ((0.3, 0.5), "reject"), (None, "promote")],
)
def test_a_loss_that_clips_cannot_exclude_must_not_be_shown(found: Any, expected: str) -> None:
    config = replace(CONFIG, exclude_loss=[key for key in COMPARED if key != "bc"])
    rules = list(comparison_rules(config, comparisons(bc=found), 5))
    assert verdict_of(rules, has_champion=True)[0] == expected
    (name,) = (rule.name for rule in rules if rule.name.startswith("BC"))
    assert name == "BC not shown to be farther from ground truth than the champion's, ± 20%"


def test_too_few_clips_compare_nothing() -> None:
    rules = list(comparison_rules(CONFIG, comparisons(), 4))
    assert {rule.status for rule in rules} == {"not run"}
    assert "4 of at least 5 clips" in rules[0].text
    assert verdict(comparisons(), clips=4) == "inconclusive"


def test_every_rule_appears_without_a_champion_and_none_counts() -> None:
    rules = list(comparison_rules(CONFIG, None, 5))
    assert len(rules) == 1 + len(COMPARED)
    assert {rule.status for rule in rules} == {"not run"}
    assert verdict_of(rules, has_champion=False)[0] == "promote"


@pytest.mark.parametrize(
    ("low", "high", "status"),
    [(-2, -1, "passed"), (-2, 1, "unclear"), (-1, 2, "failed"), (1, 2, "failed")],
)
def test_a_floor_needs_more_than_chance(low: float, high: float, status: Status) -> None:
    found = {("fgd", "mean_pose"): compared("fgd", low, high).difference}
    (rule,) = floor_rules(CONFIG, found)
    assert rule.status == status
    assert rule.name == "FGD better than the mean pose"
    assert "[" in rule.text


def test_an_undefined_floor_is_not_run() -> None:
    (rule,) = floor_rules(CONFIG, {("fgd", "mean_pose"): None})
    assert rule.status == "not run"


def test_time_and_memory_have_a_budget() -> None:
    slow = Budget(CONFIG.max_synthesis_time * 2, CONFIG.max_memory_mib / 2)
    assert [rule.status for rule in budget_rules(CONFIG, slow)] == ["failed", "passed"]
    large = Budget(CONFIG.max_synthesis_time / 2, CONFIG.max_memory_mib * 2)
    assert [rule.status for rule in budget_rules(CONFIG, large)] == ["passed", "failed"]


def test_the_reason_names_the_rules() -> None:
    failed = Rule(group="Evidence", name="Sample rendered", status="failed", text="")
    assert verdict_of([failed], has_champion=True) == ("reject", "It fails: Sample rendered.")
