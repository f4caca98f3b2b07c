"""One measured thing beside the bar it is to hold."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One thing measured."""

    quantity: str
    measured: float
    unit: str
    bar: float | None = None
    """None where it is only told."""
    at_least: bool = False
    """Whether the bar is a floor; else a ceiling."""

    @property
    def ok(self) -> bool | None:
        """Whether the bar is held."""
        if self.bar is None:
            return None
        return self.measured >= self.bar if self.at_least else self.measured <= self.bar

    def as_data(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"ok": self.ok}
