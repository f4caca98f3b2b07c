"""A rule of the checks: a bound on one column of a table with one row per clip."""

from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

Severity = Literal["critical", "quarantine", "warning"]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A bound on one column of the table of clips.

    Null passes unless `required`: a clip without a TextGrid has no words to judge.
    """

    name: str
    severity: Severity
    column: str
    why: str
    """What a value out of bounds means and does."""
    minimum: float | None = None
    maximum: float | None = None
    allowed: tuple[Any, ...] | None = None
    required: bool = False
    absent: bool = False
    """The column must be null: it holds a fault."""

    @property
    def expected(self) -> str:
        """The bound in words."""
        if self.absent:
            return "none"
        if self.allowed is not None:
            return " or ".join(str(value) for value in self.allowed)
        if self.minimum is None and self.maximum is None:
            return "a value"
        if self.minimum is None:
            return f"at most {self.maximum:g}"
        return (
            f"at least {self.minimum:g}"
            if self.maximum is None
            else f"{self.minimum:g} to {self.maximum:g}"
        )

    def broken(self, values: "pd.Series[Any]") -> "pd.Series[bool]":
        """Which values break the rule."""
        if self.absent:
            return values.notna()
        null = values.isna()
        bad = pd.Series(False, index=values.index)
        if self.allowed is not None:
            bad = ~values.isin(self.allowed)
        if self.minimum is not None:
            bad |= pd.to_numeric(values) < self.minimum
        if self.maximum is not None:
            bad |= pd.to_numeric(values) > self.maximum
        return (bad & ~null) | (null & self.required)
