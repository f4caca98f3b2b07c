"""The generator's local scans: from the body's state to latents and code logits of the four
parts.
"""

import torch
from torch import Tensor, nn

from mambatalk.models.generator.layers import MLP, PositionalEncoding
from mambatalk.models.mamba.attention import Decoder
from mambatalk.models.mamba.block import MambaAttention, MambaScan
from mambatalk.motion.skeleton import PARTS, Part

BODY_PARTS: tuple[Part, ...] = ("upper", "hands", "lower")


class LocalScan(nn.Module):
    """Attend from the body's state to sound and words, then scan each part. Source: paper, local
    scan.

    The published code adds the speaker to the attention's query and then overwrites it; so the
    speaker enters after it.

    The published attention knows where a frame of the body is, but not where a frame of the sound
    is: shuffling the sound's frames changes nothing but for what a frame holds of its neighbours,
        and no stroke can be timed by it.
    With `aligned` its scores fall with the distance in time (`time_bias`).
    """

    def __init__(
        self,
        *,
        hidden: int,
        audio_dim: int,
        code_dim: int,
        codebook_size: int,
        face_layers: int,
        decoder_layers: int,
        decoder_heads: int,
        heads: int,
        dropout: float,
        aligned: bool,
    ) -> None:
        super().__init__()
        self.heads, self.aligned = decoder_heads, aligned
        self.position = PositionalEncoding(hidden, dropout)
        self.memory = nn.Linear(audio_dim, hidden)
        self.decoder = Decoder(hidden, decoder_heads, dropout, decoder_layers)
        self.part_mlp = nn.ModuleDict({part: MLP(hidden, hidden, hidden) for part in BODY_PARTS})
        self.mix = nn.ModuleDict({part: nn.Linear(2 * hidden, hidden) for part in PARTS})
        self.scan = nn.ModuleDict(
            {
                part: MambaScan(hidden, hidden, hidden, face_layers)
                if part == "face"
                else MambaAttention(hidden, hidden, heads=heads, dropout=dropout)
                for part in PARTS
            }
        )
        self.to_latent = nn.ModuleDict({part: nn.Linear(hidden, code_dim) for part in PARTS})
        self.to_logits = nn.ModuleDict(
            {part: MLP(code_dim, hidden, codebook_size) for part in PARTS}
        )

    def forward(
        self,
        body: Tensor,
        hint: Tensor,
        audio: Tensor,
        speaker_face: Tensor,
        speaker_body: Tensor,
    ) -> tuple[dict[Part, Tensor], dict[Part, Tensor]]:
        """Scan a window.

        Args:
            body: The body's state (B, T, hidden).
            hint: The hint for the face (B, T, hidden).
            audio: The body branch's fused features (B, T, audio_dim).
            speaker_face: (B, T, hidden).
            speaker_body: (B, T, hidden).

        Returns:
            Latents (B, T, code_dim) and code logits (B, T, codebook_size) by part.

        """
        states = self._body_states(body, audio, speaker_body)
        states["face"] = self.scan["face"](
            self.mix["face"](torch.cat((self.position(speaker_face), hint), dim=-1))
        )
        latent = {part: self.to_latent[part](states[part]) for part in PARTS}
        return latent, {part: self.to_logits[part](latent[part]) for part in PARTS}

    def _body_states(self, body: Tensor, audio: Tensor, speaker: Tensor) -> dict[Part, Tensor]:
        bias = None
        if self.aligned:
            bias = time_bias(audio.shape[1], self.heads, audio.device)
        body = body + self.decoder(self.position(body), self.memory(audio), bias)
        own = {part: self.part_mlp[part](body) for part in BODY_PARTS}
        states = {}
        for part in BODY_PARTS:
            one, other = (own[name] for name in BODY_PARTS if name != part)
            mixed = self.mix[part](
                torch.cat((self.position(own[part] + speaker), one + other), dim=-1)
            )
            states[part] = self.scan[part](mixed) + own[part]
        return states


def time_bias(steps: int, heads: int, device: torch.device | None = None) -> Tensor:
    """What is added to the scores of attention (heads, steps, steps): each head's slope times the
    distance in frames.

    Slopes are 2^(-8/heads), 2^(-16/heads), and so on to 2^-8, so that one head hears a few frames
    and another all.
    Source: Press et al. 2022, attention with linear biases; here on both sides.
    """
    slopes = 2.0 ** (-8 / heads * torch.arange(1, heads + 1, device=device))
    time = torch.arange(steps, device=device)
    return -slopes[:, None, None] * (time[:, None] - time).abs()
