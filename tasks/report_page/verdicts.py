"""What the numbers say in words: does the model beat its baselines, and what must not be
compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from mambatalk.metrics.catalogue import CATALOGUE, Better, metric_value

PAPER_CLIPS: Final = 15
CLOSER: Final = 0.9
"""Nearer to ground truth than a baseline is who leaves at most this share of its distance: a body
that trembles by a hair is no nearer than one that stands still."""
PAPER_SPEAKERS: Final = ["2 scott"]
RIVALS: Final = {
    "mean_pose": "the mean pose",
    "random_clip": "a random training clip",
    "shuffled_audio": "the sound of another clip",
}


@dataclass(frozen=True)
class Verdict:
    """One comparison of the model with a baseline."""

    name: str
    holds: bool | None
    """None where it cannot be told."""
    text: str


def verdicts(evaluation: dict[str, Any]) -> list[Verdict]:
    """Every comparison, on the corrected metrics."""
    found = [
        _compare(evaluation, "fgd", "mean_pose", estimable=not evaluation["warnings"]),
        _compare(evaluation, "bc", "mean_pose"),
        _compare(evaluation, "l1div", "mean_pose"),
        _compare(evaluation, "mse", "random_clip"),
        _compare(evaluation, "mse", "shuffled_audio"),
    ]
    if metric_value(evaluation, "model", "event_f1") is not None:
        found += [
            _compare(evaluation, "event_f1", "random_clip"),
            _compare(evaluation, "event_f1", "shuffled_audio"),
        ]
    return found


def headline(found: Sequence[Verdict]) -> tuple[str, str]:
    """A sentence on all comparisons, and a second one on those that fail or cannot be told."""
    told = [one for one in found if one.holds is not None]
    won = sum(one.holds is True for one in told)
    lost = "; ".join(one.name for one in told if not one.holds)
    untold = "; ".join(one.name for one in found if one.holds is None)
    if not told:
        first = "Whether the model does what it must cannot be told from these clips"
    elif won == len(told):
        first = f"The model passes all {won} checks of what it must do"
    elif won > len(told) / 2:
        first = f"The model passes {won} of {len(told)} checks of what it must do"
    else:
        first = f"The model does not do yet what it must: it passes {won} of {len(told)} checks"
    return first, " ".join(
        filter(None, (lost and f"It loses: {lost}.", untold and f"Not estimable: {untold}."))
    )


def not_comparable(
    facts: dict[str, Any], evaluation: dict[str, Any], *, published_fgd: bool
) -> list[str]:
    """Why these numbers must not stand beside the published table; empty where nothing speaks
    against it.
    """
    reasons = []
    if facts["sample"]:
        reasons.append(
            "The corpus is the embedded sample: spoken by a synthesiser and moved by written rules. Table 1 "
            "is recorded people."
        )
    elif facts["speakers"] != PAPER_SPEAKERS or evaluation["clips"] != PAPER_CLIPS:
        reasons.append(
            f"Table 1 is speaker 2 of BEATX and its {PAPER_CLIPS} test clips; here it is "
            f"{len(facts['speakers'])} speakers and {evaluation['clips']} clips."
        )
    if evaluation["body"] == "stand-in":
        reasons.append(
            "The body is a stand-in of our own geometry, not SMPL-X. Joints and face vertices lie "
            "elsewhere, which moves BC, diversity, face MSE, LVD and SRGR."
        )
    if not published_fgd:
        reasons.append(
            "FGD is a distance in the space of one encoder. This one was trained here, the papers' is "
            "AESKConv_240_100; numbers of two encoders have nothing to do with each other."
        )
    if evaluation["warnings"]:
        reasons += [f"{note}." for note in evaluation["warnings"]]
    return reasons


def _compare(
    evaluation: dict[str, Any], key: str, rival: str, *, estimable: bool = True
) -> Verdict:
    """Compare the model with a baseline in one corrected metric, in the metric's own direction."""
    metric = CATALOGUE[key]
    ours, theirs, truth = (
        metric_value(evaluation, row, key) for row in ("model", rival, "ground_truth")
    )
    name = f"{metric.label} against {RIVALS[rival]}"
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
