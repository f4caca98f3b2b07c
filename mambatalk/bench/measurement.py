"""A measured quantity and its target."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Measurement:
    """A measured quantity."""

    quantity: str
    value: float
    unit: str
    target: float | None = None
    """None if the quantity has no target."""
    higher_is_better: bool = False
    """Whether the target is a minimum instead of a maximum."""

    @property
    def ok(self) -> bool | None:
        """Whether the target is met; None without a target."""
        if self.target is None:
            return None
        return self.value >= self.target if self.higher_is_better else self.value <= self.target

    @property
    def target_text(self) -> str:
        """The target in words, such as "at least 500"; empty without a target."""
        if self.target is None:
            return ""
        return f"{'at least' if self.higher_is_better else 'at most'} {self.target:,g}"

    def as_dict(self) -> dict[str, Any]:
        """Return the fields and `ok`, for JSON."""
        return asdict(self) | {"ok": self.ok}
