"""What a build on a few recorded clips can and cannot show."""

from dataclasses import dataclass
from typing import Any, Final

from mambatalk.reporting.text import count_of

ENOUGH_MINUTES: Final = 60.0
"""Published models learn from hours of recordings. Below one hour, a page that reports metrics as
the quality of a model would mislead."""
ENOUGH_CLIPS: Final = 5
"""Held-out clips below which metrics have no useful spread."""


@dataclass(frozen=True)
class Limits:
    """What the page says in place of a verdict on the model."""

    headline: tuple[str, str]
    shown: list[str]
    not_shown: list[str]
    advice: str


def little_data(facts: dict[str, Any], evaluation: dict[str, Any]) -> Limits | None:
    """Return what to say about a recorded corpus that is too small to judge a model.

    Args:
        facts: Result of `facts.facts`.
        evaluation: Content of `metrics/metrics.json`.

    Returns:
        The texts, or None for the embedded sample and for a corpus that is large enough.

    """
    if facts["sample"] or facts["minutes"] >= ENOUGH_MINUTES:
        return None
    used = {split: count for split, _, count in facts["splits"]}
    amount = f"{facts['minutes']:.1f} minutes in {count_of(facts['clips'], 'clip')}"
    return Limits(
        headline=(
            "The corpus passes every stage; it is too small to judge a model",
            f"{amount}: {used['train']} for training, {evaluation['clips']} for the metrics.",
        ),
        shown=_shown(facts),
        not_shown=_not_shown(facts, evaluation),
        advice=(
            "For a model to use: record hours rather than minutes, mark a validation and a test "
            "split, and train with the profile paper (docs/own-data.md, section 5)."
        ),
    )


def _shown(facts: dict[str, Any]) -> list[str]:
    left_out = len(facts["quarantined"])
    return [
        f"That {count_of(facts['clips'], 'clip')} can be read, checked, trained on, generated, "
        f"scored and rendered; {left_out or 'none'} had to be left out.",
        "Whether the recordings are read correctly. In the videos, the right-hand figure is the "
        "recording: it must stand upright on the floor and move in time with the speech.",
        "Whether every network learns at all: its training loss, under Training, should fall.",
    ]


def _not_shown(facts: dict[str, Any], evaluation: dict[str, Any]) -> list[str]:
    points = [
        f"How well a model can gesture. {facts['minutes']:.1f} minutes are not enough to learn "
        "from, so the generated motion may stand still, drift or tremble."
    ]
    if evaluation["clips"] < ENOUGH_CLIPS:
        points.append(
            "Whether one row of metrics is better than another. "
            f"{count_of(evaluation['clips'], 'clip')} cannot tell a difference from chance, "
            "whatever the checks below say."
        )
    if evaluation["warnings"]:
        points.append("FGD, which needs more frames than these.")
    if len(facts["speakers"]) == 1:
        points.append("Anything about other speakers: the corpus has one.")
    points.append("How the model compares with published ones.")
    return points
