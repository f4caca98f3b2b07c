"""The report's checks of the model against its baselines, and what must not be compared."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from mambatalk.metrics.catalogue import CATALOGUE, Better, metric_value

PAPER_CLIPS: Final = 15
PAPER_SPEAKERS: Final = ["2 scott"]
CLOSER: Final = 0.9
"""The model counts as nearer to ground truth than a baseline if its distance is below this share of
the baseline's. Without this margin, a body that trembles would beat one that stands still."""
BASELINES: Final = {
    "mean_pose": "the mean pose",
    "random_clip": "a random training clip",
    "shuffled_audio": "the audio of another clip",
}


@dataclass(frozen=True)
class Verdict:
    """The result of comparing the model with a baseline in one metric."""

    name: str
    passed: bool | None
    """None if a value is undefined or cannot be estimated."""
    text: str
    """The values compared."""


def verdicts(evaluation: dict[str, Any]) -> list[Verdict]:
    """Compare the model with its baselines in the corrected metrics.

    Args:
        evaluation: Content of `metrics/metrics.json`.

    """
    result = [
        _compare(evaluation, "fgd", "mean_pose", estimable=not evaluation["warnings"]),
        _compare(evaluation, "bc", "mean_pose"),
        _compare(evaluation, "l1div", "mean_pose"),
        _compare(evaluation, "mse", "random_clip"),
        _compare(evaluation, "mse", "shuffled_audio"),
    ]
    if metric_value(evaluation, "model", "event_f1") is not None:
        result += [
            _compare(evaluation, "event_f1", "random_clip"),
            _compare(evaluation, "event_f1", "shuffled_audio"),
        ]
    return result


def headline(results: Sequence[Verdict]) -> tuple[str, str]:
    """Return a sentence on all checks, and one on those that failed or cannot be estimated."""
    decided = [one for one in results if one.passed is not None]
    passed = sum(one.passed is True for one in decided)
    if not decided:
        first = "These clips are too few to check the model"
    elif passed == len(decided):
        first = f"The model passes all {passed} checks against its baselines"
    else:
        first = f"The model passes {passed} of {len(decided)} checks against its baselines"

    failed = "; ".join(one.name for one in decided if not one.passed)
    undecided = "; ".join(one.name for one in results if one.passed is None)
    details = []
    if failed:
        details.append(f"Failed: {failed}.")
    if undecided:
        details.append(f"Not estimable: {undecided}.")
    return first, " ".join(details)


def not_comparable(
    facts: dict[str, Any], evaluation: dict[str, Any], *, published_fgd: bool
) -> list[str]:
    """Return the reasons why these metrics cannot be compared with the published table.

    Args:
        facts: Result of `facts.facts`.
        evaluation: Content of `metrics/metrics.json`.
        published_fgd: Whether FGD was measured with the published encoder.

    """
    reasons = []
    if facts["sample"]:
        reasons.append(
            "The corpus is the embedded sample, with synthetic speech and motion from written "
            "rules. Table 1 was measured on recorded people."
        )
    elif facts["speakers"] != PAPER_SPEAKERS or evaluation["clips"] != PAPER_CLIPS:
        reasons.append(
            f"Table 1 was measured on the {PAPER_CLIPS} test clips of speaker 2 of BEATX; this "
            f"build has {len(facts['speakers'])} speakers and {evaluation['clips']} clips."
        )
    if evaluation["body"] == "stand-in":
        reasons.append(
            "The body is the stand-in and not SMPL-X. Its joints and face vertices have other "
            "positions, which changes BC, diversity, face MSE, LVD and SRGR."
        )
    if not published_fgd:
        reasons.append(
            "FGD is a distance in the feature space of one encoder. This build trained its own, "
            "the papers use AESKConv_240_100; values of two encoders cannot be compared."
        )
    reasons += [f"{note}." for note in evaluation["warnings"]]
    return reasons


def _compare(
    evaluation: dict[str, Any], key: str, baseline: str, *, estimable: bool = True
) -> Verdict:
    """Compare the model with a baseline in one corrected metric, in the metric's direction."""
    metric = CATALOGUE[key]
    ours, theirs, truth = (
        metric_value(evaluation, row, key) for row in ("model", baseline, "ground_truth")
    )
    name = f"{metric.label} against {BASELINES[baseline]}"
    numbers = f"{metric.format(ours)} against {metric.format(theirs)}"
    if metric.better == "nearer to ground truth":
        numbers += f"; ground truth {metric.format(truth)}"
    numbers += f" ({metric.printed_unit or 'no unit'})"
    if ours is None or theirs is None or not estimable:
        return Verdict(name, None, numbers)
    return Verdict(name, _is_better(metric.better, ours, theirs, truth), numbers)


def _is_better(better: Better, ours: float, theirs: float, truth: float | None) -> bool:
    if better == "lower":
        return ours < theirs
    if better == "higher":
        return ours > theirs
    return truth is not None and abs(ours - truth) < CLOSER * abs(theirs - truth)
