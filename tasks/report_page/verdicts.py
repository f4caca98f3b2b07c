"""The report's headline on the checks of the model, and what must not be compared.

The checks themselves are those of `mambatalk.evaluation.checks`; the stage evaluate runs them.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

from mambatalk.metrics.catalogue import CATALOGUE
from mambatalk.reporting.text import count_of

PAPER_CLIPS: Final = 15
PAPER_SPEAKERS: Final = ["2 scott"]
Checks = Sequence[Mapping[str, str]]
"""`checks` of `metrics.json`."""


def headline(evaluation: Mapping[str, Any]) -> tuple[str, str]:
    """Return a sentence on all checks, and what failed or is not shown.

    Args:
        evaluation: Content of `metrics/metrics.json`.

    """
    checks = evaluation["checks"]
    count = Counter(one["status"] for one in checks)
    clips = evaluation["clips"]
    behind = f"{count_of(clips, 'clip')} and one seed"
    if count["failed"]:
        first = f"The model fails {count['failed']} of {len(checks)} checks on {behind}"
    elif not count["passed"]:
        first = f"These clips are too few to check the model: {behind}"
    elif count["not shown"]:
        first = f"The model fails no check, but only {count['passed']} of {len(checks)} are"
        first += f" shown on {behind}"
    else:
        first = f"The model passes all {len(checks)} checks on {behind}"

    details = []
    if count["failed"]:
        failed = [CATALOGUE[one["metric"]].label for one in checks if one["status"] == "failed"]
        details.append(f"Failed: {'; '.join(dict.fromkeys(failed))}.")
    if count["not shown"]:
        details.append(
            "Not shown, because other clips could decide otherwise or a value is undefined:"
            f" {count['not shown']}."
        )
    return first, " ".join(details)


def grouped(checks: Checks) -> Iterator[tuple[str, list[Mapping[str, str]]]]:
    """Return the checks by group, in their order, failed ones first within a group."""
    order = ("failed", "not shown", "passed")
    for group, members in groupby(checks, key=lambda one: one["group"]):
        yield group, sorted(members, key=lambda one: order.index(one["status"]))


def not_comparable(facts: dict[str, Any], evaluation: dict[str, Any]) -> list[str]:
    """Return the reasons why these metrics cannot be compared with the published table.

    Args:
        facts: Result of `facts.facts`.
        evaluation: Content of `metrics/metrics.json`.

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
            f"build has {count_of(len(facts['speakers']), 'speaker')} and "
            f"{count_of(evaluation['clips'], 'clip')}."
        )
    if evaluation["body"] == "stand-in":
        reasons.append(
            "The body is the stand-in and not SMPL-X. Its joints and face vertices have other "
            "positions, which changes BC, diversity, face MSE, LVD and SRGR."
        )
    if evaluation["fgd_encoder"] != "published":
        reasons.append(
            "FGD is a distance in the feature space of one encoder. The papers use "
            "AESKConv_240_100 and this build another one "
            f"({evaluation['fgd_encoder']}); values of two encoders cannot be compared."
        )
    reasons += [f"{note}." for note in evaluation["warnings"]]
    return reasons
