"""What synthesis keeps from window to window."""

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
        context_codes, recent_codes = (
            codes and {part: index.clone() for part, index in codes.items()}
            for codes in (self.context_codes, self.recent_codes)
        )
        return replace(
            self,
            context=self.context.clone(),
            first_frame=self.first_frame.clone(),
            speaker_index=self.speaker_index.clone(),
            context_codes=context_codes,
            recent_codes=recent_codes,
        )

    def first_rows(self, count: int) -> "SynthesisState":
        """Return the state of the first `count` clips."""
        context_codes, recent_codes = (
            codes and {part: index[:count] for part, index in codes.items()}
            for codes in (self.context_codes, self.recent_codes)
        )
        return SynthesisState(
            context=self.context[:count],
            first_frame=self.first_frame[:count],
            speaker_index=self.speaker_index[:count],
            windows=self.windows,
            context_codes=context_codes,
            recent_codes=recent_codes,
        )
