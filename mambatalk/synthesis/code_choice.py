"""Choice of the codes of a window from the scores of the generator.

Without sampling each part gets its most likely codes. With it the codes of the body are drawn: as
sequences where the bundle has a chain for the part, else independently in each frame. The face
always gets the nearest code.
"""

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from mambatalk.models.generator.network import GeneratorOutput
from mambatalk.models.parallel import side_by_side
from mambatalk.motion.skeleton import PARTS, Part
from mambatalk.synthesis.bundle import Bundle
from mambatalk.synthesis.chain import CHAINED_PARTS
from mambatalk.synthesis.decoding import Codes
from mambatalk.synthesis.history_chain import Chain
from mambatalk.synthesis.layout import WindowLayout
from mambatalk.synthesis.recording import Noise
from mambatalk.synthesis.sampling import Sampling
from mambatalk.synthesis.state import SynthesisState


class CodeChoice:
    """Chooses the codes of windows.

    Args:
        bundle: The model, on the device that does the work.
        layout: How clips are divided into windows.
        sampling: How codes of the body are drawn. If None, the most likely ones are chosen.
        chains: The bundle's chains by part; empty to draw each frame independently.

    """

    def __init__(
        self,
        bundle: Bundle,
        layout: WindowLayout,
        sampling: Sampling | None,
        chains: Mapping[Part, Chain],
    ) -> None:
        self._bundle = bundle
        self._layout = layout
        self.sampling = sampling
        self.chains = chains

    def scores(self, output: GeneratorOutput) -> dict[Part, Tensor]:
        """Return the score (B, T, codes) of every code; without sampling the highest is chosen.

        The logits of the body parts; for the face, the negative distance to its latent.
        """
        face = self._bundle.part_networks["face"].quantizer
        return {**output.logits, "face": -face.distances(output.latent["face"])}

    def choose(
        self, output: GeneratorOutput, state: SynthesisState, noise: Noise | None = None
    ) -> Codes:
        """Return the codes (B, T) of a window, or the motion that is predicted in their place.

        Args:
            output: Output of the generator.
            state: State after the previous window. A chain continues from its last codes.
            noise: What `noise` returns for this state. If None, it is computed.

        """
        number = state.windows
        arrived = self._layout.arrived_frames(number)
        if self._bundle.generator.predicts_codes:
            scores = {part: rows[:, :arrived] for part, rows in self.scores(output).items()}
            codes = {part: scores[part].argmax(-1) for part in PARTS}
        else:
            codes = {part: rows[:, :arrived] for part, rows in output.latent.items()}
        if self.sampling is not None:
            drawn = self.noise(state) if noise is None else noise
            draws = [
                partial(self._draw, part, scores[part], state, drawn[part], self.sampling)
                for part in CHAINED_PARTS
            ]
            codes |= zip(CHAINED_PARTS, side_by_side(draws), strict=True)
        if self._layout.pace is not None and state.context_codes is not None:
            # Most frames of the window are known, and their motion has been returned.
            known = self._layout.known_frames(number)
            for part, context in state.context_codes.items():
                codes[part] = torch.cat([context, codes[part][:, known:]], dim=1)
        return codes

    def noise(self, state: SynthesisState) -> Noise:
        """Return the noise of the codes that the next window draws, by part."""
        if self.sampling is None:
            return {}
        number = state.windows
        device = state.context.device
        noise = {}
        for part in CHAINED_PARTS:
            frames = self._layout.arrived_frames(number)
            if part in self.chains and state.context_codes is not None:
                frames -= state.context_codes[part].shape[1]
            size = self._bundle.part_networks[part].quantizer.size
            rows = self.sampling.noise(part, number, self._layout.split_frames(frames), size)
            if device.type == "cuda":
                # Without pinned memory the copy would wait for the window before.
                rows = rows.pin_memory()
            noise[part] = rows.to(device, non_blocking=True)
        return noise

    def _draw(
        self, part: Part, scores: Tensor, state: SynthesisState, noise: Tensor, sampling: Sampling
    ) -> Tensor:
        """Draw the codes (B, T) of a part; those of the context stay where there is a chain."""
        chain = self.chains.get(part)
        context = None
        before = None
        if chain is not None and state.context_codes is not None:
            assert state.recent_codes is not None
            context = state.context_codes[part]
            before = state.recent_codes[part]
            scores = scores[:, context.shape[1] :]
        drawn = sampling.choose(
            scores, noise, chain=chain, before=before, speakers=state.speaker_index
        )
        return drawn if context is None else torch.cat([context, drawn], dim=1)
