"""A data rule: a bound on one column of a table with one row per clip."""

from dataclasses import dataclass
from typing import Any, Final, Literal

import pandas as pd

from mambatalk.quality.rules.measured import describe_clean

Severity = Literal["critical", "quarantine", "warning"]
NOTHING: Final = "none"
"""Expectation of a rule whose column describes a fault: the value itself describes it."""
_EFFECTS: Final = {
    "critical": "the pipeline stops",
    "quarantine": "the clip is left out of training",
    "warning": "the clip is used; the report lists it",
}


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A bound on one column of a table with one row per clip.

    A null value passes unless `required` is set: a clip without a TextGrid has no words to check.
    """

    name: str
    severity: Severity
    column: str
    reason: str
    """What a value outside the bound means, and its effect."""
    minimum: float | None = None
    maximum: float | None = None
    allowed: tuple[Any, ...] | None = None
    required: bool = False
    """Whether a null value breaks the rule."""
    absent: bool = False
    """Whether every value must be null, because the column describes a fault."""
    advice: str = ""
    """What to do about a clip that breaks the rule; it follows the reason in every report."""
    basis: str = ""
    """Where the bound comes from: physiology, or values measured on clean clips."""
    parameter: str | None = None
    """Field of the section `check_clips` that sets the bound; None if the code sets it."""
    when: str | None = None
    """Column with the time of the fault in the clip, such as "3.0 to 4.5 s"."""

    @property
    def sentence(self) -> str:
        """The reason, and what to do if it is known."""
        return f"{self.reason}; {self.advice}" if self.advice else self.reason

    @property
    def expected(self) -> str:
        """The bound in words, such as "at most 60"."""
        if self.absent:
            return NOTHING
        if self.allowed is not None:
            return " or ".join(str(value) for value in self.allowed)
        if self.minimum is not None and self.maximum is not None:
            return f"{self.minimum:g} to {self.maximum:g}"
        if self.minimum is not None:
            return f"at least {self.minimum:g}"
        if self.maximum is not None:
            return f"at most {self.maximum:g}"
        return "a value"

    def violations(self, values: "pd.Series[Any]") -> "pd.Series[bool]":
        """Return a mask of the values that break the rule."""
        if self.absent:
            return values.notna()

        out_of_bounds = pd.Series(False, index=values.index)
        if self.allowed is not None:
            out_of_bounds = ~values.isin(self.allowed)
        if self.minimum is not None:
            out_of_bounds |= pd.to_numeric(values) < self.minimum
        if self.maximum is not None:
            out_of_bounds |= pd.to_numeric(values) > self.maximum

        null = values.isna()
        return (out_of_bounds & ~null) | (null & self.required)


def explain(rule: Rule) -> list[str]:
    """Return lines that say what a rule checks, why its bound is what it is, and what to do."""
    setting = (
        f"set by check_clips.{rule.parameter} of the parameter file"
        if rule.parameter
        else "the same for every corpus"
    )
    lines = [
        f"{rule.name} ({rule.severity}): {rule.reason}",
        f"checks: {rule.column} of each clip; expected {rule.expected}, {setting}",
    ]
    if rule.basis:
        lines.append(f"why this bound: {rule.basis}")
    clean = describe_clean(rule.column)
    if clean:
        lines.append(f"clean clips: {clean}")
    if rule.advice:
        lines.append(f"what to do: {rule.advice}")
    return [*lines, f"effect: {_EFFECTS[rule.severity]}"]
