"""What synthesis keeps from window to window."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor

from mambatalk.synthesis.decoding import Codes


@dataclass(frozen=True, kw_only=True, eq=False)
class SynthesisState:
    """What the next window needs from the windows before it, for B clips side by side."""

    context: Tensor
    """Motion (B, c, 337) of the known frames that the next window starts with: 4 without a pace."""
    first_frame: Tensor
    """Motion (B, 337) of the first frame. Published synthesis restarts the translation there."""
    speaker_index: Tensor
    """Row of the speaker embedding (B,)."""
    windows: int
    """Number of windows generated so far."""
    context_codes: Codes | None = None
    """Codes (B, c) of the frames that the next window starts with; None before the first one."""
    recent_codes: Codes | None = None
    """Codes (B, r) of the last frames before the new ones of the next window, as many as a chain
    remembers; None before the first one."""

    def copied(self) -> "SynthesisState":
        """Return the state with tensors of its own."""
        return self._with_tensors(Tensor.clone)

    def first_rows(self, count: int) -> "SynthesisState":
        """Return the state of the first `count` clips."""
        return self._with_tensors(lambda tensor: tensor[:count])

    def _with_tensors(self, change: Callable[[Tensor], Tensor]) -> "SynthesisState":
        """Return the state with every tensor replaced by the result of a function."""

        def changed(codes: Codes | None) -> Codes | None:
            return codes and {part: change(index) for part, index in codes.items()}

        return replace(
            self,
            context=change(self.context),
            first_frame=change(self.first_frame),
            speaker_index=change(self.speaker_index),
            context_codes=changed(self.context_codes),
            recent_codes=changed(self.recent_codes),
        )
