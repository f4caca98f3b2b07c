"""Local scans of the generator: state of the body to latents and code logits of four parts.

With the target `motion` they give the motion channels of the parts instead, and no logits.
"""

from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from mambatalk.models.generator.layers import MLP, ChannelHead, PositionalEncoding
from mambatalk.models.generator.speaker import SpeakerForm, speaker_condition
from mambatalk.models.mamba.attention import Decoder
from mambatalk.models.mamba.block import MambaAttention, MambaScan
from mambatalk.models.parallel import side_by_side
from mambatalk.motion.skeleton import PART_DIMS, PARTS, Part

Target = Literal["codes", "motion"]

BODY_PARTS: tuple[Part, ...] = ("upper", "hands", "lower")


class LocalScan(nn.Module):
    """Attention from the state of the body to audio and words, then a scan for each part.

    Source: paper, local scan. The published code adds the speaker to the query of the attention and
    then overwrites the sum, so here the speaker is added after the attention.

    The published attention adds a positional encoding to the frames of the body but not to those of
    the audio. The order of the audio frames therefore has no effect, and the attention cannot align
    a gesture with a word. With `aligned`, the scores decrease with the distance in time
    (`time_bias`).

    Args:
        hidden: Channels of the states.
        audio_dim: Channels of the fused features.
        code_dim: Channels of a latent.
        codebook_size: Number of codes.
        face_layers: Mamba layers of the face's scan.
        decoder_layers: Layers of the attention to the audio.
        decoder_heads: Heads of the attention to the audio.
        heads: Attention heads in the scans of the body parts.
        dropout: Probability of dropout.
        aligned: Whether the attention to the audio prefers frames that are near in time.
        scans: Whether the parts are scanned, or passed on unchanged.
        speaker: How the states of the parts depend on the speaker.
        target: Whether to predict codes or motion channels.

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
        scans: bool = True,
        speaker: SpeakerForm = "added",
        target: Target = "codes",
    ) -> None:
        super().__init__()
        self.heads = decoder_heads
        self.aligned = aligned
        self.speaker = speaker
        self.position = PositionalEncoding(hidden, dropout)
        self.memory = nn.Linear(audio_dim, hidden)
        self.decoder = Decoder(hidden, decoder_heads, dropout, decoder_layers)
        self.part_mlp = nn.ModuleDict({part: MLP(hidden, hidden, hidden) for part in BODY_PARTS})
        self.mix = nn.ModuleDict({part: nn.Linear(2 * hidden, hidden) for part in PARTS})
        self.scan = nn.ModuleDict(
            {
                part: _part_scan(part, hidden, face_layers, heads, dropout)
                if scans
                else nn.Identity()
                for part in PARTS
            }
        )
        self.condition = nn.ModuleDict(
            {part: speaker_condition(speaker, hidden, heads, dropout) for part in PARTS}
        )
        self.to_latent = nn.ModuleDict(
            {
                part: nn.Linear(hidden, code_dim)
                if target == "codes"
                else ChannelHead(hidden, PART_DIMS[part])
                for part in PARTS
            }
        )
        coded = PARTS if target == "codes" else ()
        self.to_logits = nn.ModuleDict(
            {part: MLP(code_dim, hidden, codebook_size) for part in coded}
        )

    def forward(
        self,
        body: Tensor,
        hint: Tensor,
        audio: Tensor,
        speaker_face: Tensor,
        speaker_body: Tensor,
    ) -> tuple[dict[Part, Tensor], dict[Part, Tensor]]:
        """Process a window.

        Args:
            body: State of the body (B, T, hidden).
            hint: Hint for the face (B, T, hidden).
            audio: Fused features of the body branch (B, T, audio_dim), or (B / n, T, audio_dim) if
                the batch holds n passes over the same windows.
            speaker_face: Speaker vectors of the face branch (B, T, hidden), or (B, K, hidden) for
                attention to them.
            speaker_body: The same for the body branch.

        Returns:
            Latents (B, T, code_dim) and code logits (B, T, codebook_size) of each part; with the
            target `motion`, channels (B, T, D) in place of latents, and no logits.

        """
        branches = side_by_side(
            [
                partial(self._body_states, body, audio, speaker_body),
                partial(self._face_state, hint, speaker_face),
            ]
        )
        states = branches[0] | branches[1]
        heads = side_by_side([partial(self._predict, part, states[part]) for part in PARTS])
        latent = {part: head[0] for part, head in zip(PARTS, heads, strict=True)}
        logits = {part: head[1] for part, head in zip(PARTS, heads, strict=True)}
        return latent, {part: scores for part, scores in logits.items() if scores is not None}

    def _predict(self, part: Part, state: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the latent, or the channels, of a part, and the code logits if it has them."""
        latent = self.to_latent[part](state)
        return latent, self.to_logits[part](latent) if part in self.to_logits else None

    def _face_state(self, hint: Tensor, speaker: Tensor) -> dict[Part, Tensor]:
        # The face does not use the attention. Its hint holds the audio of the same frame.
        # The published network concatenates the speaker's vector with it and adds nothing.
        own = speaker
        if self.speaker != "added":
            own = self.condition["face"](hint, speaker)
        face = torch.cat((self.position(own), hint), dim=-1)
        return {"face": self.scan["face"](self.mix["face"](face))}

    def _body_states(self, body: Tensor, audio: Tensor, speaker: Tensor) -> dict[Part, Tensor]:
        bias = None
        if self.aligned:
            bias = time_bias(audio.shape[1], self.heads, audio.device)

        body = body + self.decoder(self.position(body), self.memory(audio), bias)
        own = {part: self.part_mlp[part](body) for part in BODY_PARTS}
        states = side_by_side(
            [partial(self._part_state, part, own, speaker) for part in BODY_PARTS]
        )
        return dict(zip(BODY_PARTS, states, strict=True))

    def _part_state(self, part: Part, own: dict[Part, Tensor], speaker: Tensor) -> Tensor:
        # Each part also receives the sum of the two other parts.
        one, other = (own[name] for name in BODY_PARTS if name != part)
        conditioned = self.condition[part](own[part], speaker)
        pair = torch.cat((self.position(conditioned), one + other), dim=-1)
        state: Tensor = self.scan[part](self.mix[part](pair)) + own[part]
        return state


def _part_scan(part: Part, hidden: int, face_layers: int, heads: int, dropout: float) -> nn.Module:
    if part == "face":
        return MambaScan(hidden, hidden, hidden, face_layers)
    return MambaAttention(hidden, hidden, heads=heads, dropout=dropout)


def time_bias(steps: int, heads: int, device: torch.device | None = None) -> Tensor:
    """Compute a bias that lowers attention scores with the distance in time.

    The bias is the negative slope of a head times the distance in frames. The slopes are
    2^(-8/heads), 2^(-16/heads), ..., 2^-8, so the first head covers a few frames and the last head
    the whole window. Source: Press et al. 2022, attention with linear biases; here the bias is
    symmetric in time.

    Args:
        steps: Number of frames of the body and of the audio.
        heads: Number of attention heads.
        device: Device of the result. If None, the default device.

    Returns:
        Bias (heads, steps, steps) to add to the attention scores.

    """
    slopes = 2.0 ** (-8 / heads * torch.arange(1, heads + 1, device=device))
    time = torch.arange(steps, device=device)
    return -slopes[:, None, None] * (time[:, None] - time).abs()
