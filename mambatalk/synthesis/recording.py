"""Windows of synthesis as CUDA graphs.

Launched operation by operation, a window takes longer than the 4 ms that an H200 computes: it has
more than a thousand small operations. A graph is launched at once.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor

from mambatalk.models.generator.network import Fused
from mambatalk.models.parallel import URGENT
from mambatalk.motion.skeleton import Part
from mambatalk.synthesis.decoding import Codes
from mambatalk.synthesis.state import SynthesisState

Noise = dict[Part, Tensor]
"""Gumbel noise (T, codes) of the parts whose codes are drawn."""
Compute = Callable[[SynthesisState, Fused, Noise], tuple[Codes, SynthesisState]]
"""Computes a window from the state before it: all its codes (B, T), and the state after it."""
MOST_RECORDINGS: Final = 16
"""Graphs of different batch sizes and positions in a clip that are kept."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Recording:
    graph: torch.cuda.CUDAGraph
    inputs: list[Tensor]
    codes: Codes
    after: SynthesisState


class RecordedWindows:
    """Computes windows; those that come more than once as graphs.

    Args:
        compute: Computation of a window on a GPU. It copies nothing from the CPU and waits for
            nothing.

    """

    def __init__(self, compute: Compute) -> None:
        self._compute = compute
        self._recordings: dict[Hashable, _Recording | None] = {}

    def __call__(
        self, kind: Hashable, state: SynthesisState, window: Fused, noise: Noise
    ) -> tuple[Codes, SynthesisState]:
        """Compute a window.

        Args:
            kind: What the computation depends on besides the tensors.
            state: State before the window.
            window: Encoded audio and words.
            noise: Noise that decides which codes are drawn.

        """
        inputs = _tensors(state, window, noise)
        key = (kind, tuple(tensor.shape for tensor in inputs))
        if key not in self._recordings:
            # The first one compiles kernels and allocates workspaces, which a recording may not do.
            self._recordings[key] = None
            return self._compute(state, window, noise)
        recording = self._recordings[key]
        if recording is None:
            recording = self._record(state, window, noise)
            # Move it to the end of the order, so that the oldest recordings are deleted first.
            del self._recordings[key]
            self._recordings[key] = recording
            while len(self._recordings) > MOST_RECORDINGS:
                self._recordings.pop(next(iter(self._recordings)))
        for place, tensor in zip(recording.inputs, inputs, strict=True):
            place.copy_(tensor)
        recording.graph.replay()
        # The next replay overwrites these tensors.
        codes = {part: index.clone() for part, index in recording.codes.items()}
        after = recording.after.copied()
        return codes, replace(after, windows=state.windows + 1)

    def _record(self, state: SynthesisState, window: Fused, noise: Noise) -> _Recording:
        own_state = state.copied()
        own_window = Fused(*(branch.clone() for branch in window))
        own_noise = {part: rows.clone() for part, rows in noise.items()}
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=torch.cuda.Stream(priority=URGENT)):
            codes, after = self._compute(own_state, own_window, own_noise)
        return _Recording(
            graph=graph,
            inputs=_tensors(own_state, own_window, own_noise),
            codes=codes,
            after=after,
        )


def _tensors(state: SynthesisState, window: Fused, noise: Noise) -> list[Tensor]:
    """Return all tensors of a window's inputs in a fixed order."""
    codes = [*(state.context_codes or {}).values(), *(state.recent_codes or {}).values()]
    return [
        state.context,
        state.first_frame,
        state.speaker_index,
        *codes,
        *window,
        *noise.values(),
    ]
