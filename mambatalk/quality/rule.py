"""A data rule: a bound on one column of a table with one row per clip."""

from dataclasses import dataclass
from typing import Any, Final, Literal

import pandas as pd

Severity = Literal["critical", "quarantine", "warning"]
NOTHING: Final = "none"
"""Expectation of a rule whose column describes a fault: the value itself describes it."""


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
