"""Rules of the gate, each with its numbers, and the verdict that follows from all of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from mambatalk.config import PromotionConfig
from mambatalk.metrics.catalogue import CATALOGUE, KID
from tasks.gate.budget import Budget
from tasks.gate.differences import NO_GAIN_BELOW_TRUTH, Difference

Status = Literal["passed", "failed", "unclear", "not run", "for information"]
Verdict = Literal["promote", "reject", "inconclusive"]
Group = Literal["Evidence", "Floors", "Budget", "Comparison"]
CHALLENGER: Final = "challenger"
CHAMPION: Final = "champion"
COMPARISON: Final[Group] = "Comparison"
DISTANCES: Final = ("fgd", KID.key)
"""Distances between distributions: at least one of them must show a gain."""
COMPARED: Final = (*DISTANCES, "bc", "l1div", "mse", "lvd", "foot_skating")
"""Metrics that must not be worse than the champion's."""
_NAMES: Final = {"mean_pose": "the mean pose", "random_clip": "a random training clip"}


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule and its result."""

    group: Group
    name: str
    status: Status
    text: str
    """The numbers, and why a rule is unclear or was not run."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Champion and challenger in one metric."""

    difference: Difference
    scale: float
    """Raw value that tolerance and gain are shares of."""


def verdict_of(rules: Sequence[Rule], *, has_champion: bool) -> tuple[Verdict, str]:
    """Return the verdict, and the reason in one sentence.

    Any failed rule rejects. A rule that is unclear or was not run makes the verdict inconclusive,
    which keeps the champion. Without a champion the rules of the comparison do not count.
    """
    if not has_champion:
        rules = [rule for rule in rules if rule.group != COMPARISON]
    failed = [rule.name for rule in rules if rule.status == "failed"]
    open_rules = [rule.name for rule in rules if rule.status in ("unclear", "not run")]
    if failed:
        return "reject", f"It fails: {'; '.join(failed)}."
    if open_rules:
        return "inconclusive", f"Not shown or not run: {'; '.join(open_rules)}."
    if has_champion:
        return (
            "promote",
            "It is better than the champion by more than chance, and worse in nothing.",
        )
    return "promote", "There is no champion yet, and it passes every absolute rule."


def floor_rules(
    config: PromotionConfig, floors: Mapping[tuple[str, str], Difference | None]
) -> Iterator[Rule]:
    """Yield the absolute floors: better than the baselines.

    Args:
        config: Rules.
        floors: Challenger minus baseline by metric and baseline; None where undefined.

    """
    wanted = {"mean_pose": config.beat_mean_pose, "random_clip": config.beat_random_clip}
    for baseline, keys in wanted.items():
        for key in keys:
            name = f"{CATALOGUE[key].label} better than {_NAMES[baseline]}"
            found = floors[key, baseline]
            if found is None:
                yield Rule(group="Floors", name=name, status="not run", text="it is undefined")
                continue
            status: Status = "unclear"
            if found.high < 0:
                status = "passed"
            elif found.low > 0 or found.worse >= 0:
                status = "failed"
            yield Rule(group="Floors", name=name, status=status, text=_numbers(found))


def comparison_rules(
    config: PromotionConfig, comparisons: Mapping[str, Comparison | None] | None, clips: int
) -> Iterator[Rule]:
    """Yield the rules against the champion: a gain in a distance, and no loss in any metric.

    Args:
        config: Rules.
        comparisons: Comparison by metric, None where it is undefined; None without a champion.
        clips: Number of clips that both were scored on.

    """
    if comparisons is None or clips < config.min_clips:
        text = f"{clips} of at least {config.min_clips} clips"
        if comparisons is None:
            text = "there is no champion yet"
        for name in (_gain_name(config), *(_loss_name(config, key) for key in COMPARED)):
            yield Rule(group=COMPARISON, name=name, status="not run", text=text)
        return
    yield _gain_rule(config, [comparisons[key] for key in DISTANCES])
    for key in COMPARED:
        yield _loss_rule(config, key, comparisons[key])


def _gain_name(config: PromotionConfig) -> str:
    return f"FGD or KID better than the champion's by at least {config.min_gain:.0%}"


def _gain_rule(config: PromotionConfig, distances: Sequence[Comparison | None]) -> Rule:
    known = [one for one in distances if one is not None]
    texts = [
        f"{CATALOGUE[one.difference.key].label} {_numbers(one.difference)}, needed below "
        f"{CATALOGUE[one.difference.key].format(-config.min_gain * one.scale)}"
        for one in known
    ]
    status: Status = "unclear"
    if not known:
        status = "not run"
    elif any(one.difference.high < -config.min_gain * one.scale for one in known):
        status = "passed"
    elif all(one.difference.low > -config.min_gain * one.scale for one in known):
        status = "failed"
    return Rule(
        group=COMPARISON,
        name=_gain_name(config),
        status=status,
        text="; ".join(texts) or "both are undefined",
    )


def _loss_name(config: PromotionConfig, key: str) -> str:
    other = "the champion's"
    if key in NO_GAIN_BELOW_TRUTH:
        other += ", or than ground truth's"
    worse = "worse than"
    if CATALOGUE[key].better == "nearer to ground truth":
        worse = "farther from ground truth than"
    shown = "" if key in config.exclude_loss else "shown to be "
    return f"{CATALOGUE[key].label} not {shown}{worse} {other}, ± {config.tolerance:.0%}"


def _loss_rule(config: PromotionConfig, key: str, found: Comparison | None) -> Rule:
    name = _loss_name(config, key)
    must_exclude = key in config.exclude_loss
    if found is None:
        status: Status = "not run" if must_exclude else "for information"
        return Rule(group=COMPARISON, name=name, status=status, text="it is undefined")
    limit = config.tolerance * found.scale
    if found.difference.low > limit:
        status = "failed"
    elif found.difference.high <= limit or not must_exclude:
        status = "passed"
    else:
        status = "unclear"
    text = f"{_numbers(found.difference)}, accepted up to {CATALOGUE[key].format(limit)}"
    return Rule(group=COMPARISON, name=name, status=status, text=text)


def _numbers(found: Difference) -> str:
    """Print `0.204 against 0.310, difference -0.106 [-0.150, -0.060]`, in printed units."""
    metric = CATALOGUE[found.key]
    values = f"{metric.format(found.first)} against {metric.format(found.second)}"
    if found.truth is not None:
        values += f" (ground truth {metric.format(found.truth)})"
    unit = f" {metric.printed_unit}" if metric.printed_unit else ""
    low, high = metric.format(found.low), metric.format(found.high)
    return f"{values}{unit}, difference {metric.format(found.worse)} [{low}, {high}]"


def budget_rules(config: PromotionConfig, budget: Budget) -> Iterator[Rule]:
    """Yield the rules on time and memory of synthesis."""
    for name, found, limit, unit in (
        ("Synthesis on the CPU", budget.synthesis_time, config.max_synthesis_time, "s per second"),
        ("Memory of synthesis", budget.memory_mib, config.max_memory_mib, "MiB"),
    ):
        yield Rule(
            group="Budget",
            name=f"{name} at most {limit:g} {unit}",
            status="passed" if found <= limit else "failed",
            text=f"{found:.3g} {unit}" if found < 1000 else f"{found:.0f} {unit}",
        )
