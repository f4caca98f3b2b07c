"""The generator's global scan: partly hidden motion, speaker and sound to one state of the whole
body.
"""

import torch
from torch import Tensor, nn

from mambatalk.models.generator.layers import MLP, PositionalEncoding, repeat_batch
from mambatalk.models.mamba.attention import EncoderLayer
from mambatalk.models.mamba.block import MambaScan
from mambatalk.models.vq.vqvae import ConvEncoder
from mambatalk.motion.skeleton import MOTION_DIM


class GlobalScan(nn.Module):
    """Encode the motion, attend over it, and scan it and the sound. Source: paper, global scan."""

    def __init__(
        self,
        *,
        hidden: int,
        audio_dim: int,
        motion_dim: int,
        motion_layers: int,
        heads: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.zeros(1, 1, MOTION_DIM))
        self.motion_encoder = ConvEncoder(MOTION_DIM, motion_dim, motion_layers)
        self.motion_mlp = MLP(motion_dim, hidden, motion_dim)
        self.motion_projection = nn.Linear(motion_dim, hidden)
        self.position = PositionalEncoding(hidden, dropout)
        self.speaker_attention = EncoderLayer(hidden, heads, dropout)
        self.motion_attention = EncoderLayer(hidden, heads, dropout)
        self.audio_scan = MambaScan(audio_dim, 2 * audio_dim, audio_dim, 1)
        self.motion_scan = MambaScan(motion_dim, hidden, motion_dim, 1)
        self.out = nn.Linear(audio_dim + motion_dim, hidden)

    def forward(
        self, audio: Tensor, speaker: Tensor, motion: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Scan a window.

        Args:
            audio: The face branch's fused features (B, T, audio_dim), or those of one of n passes
                (B / n, T, audio_dim).
            speaker: The body branch's speaker vectors (B, T, hidden).
            motion: (B, T, 337).
            mask: True where hidden (B, T, 337); there the learnable query stands.

        Returns:
            The body's state (B, T, hidden) and the hint for the face (B, T, hidden).

        """
        seen = self.motion_encoder(torch.where(mask, self.query, motion))
        body = self.motion_projection(self.motion_mlp(seen)) + self.speaker_attention(speaker)
        # The audio is the same in every pass, and no dropout acts on it: it is scanned once.
        scanned_audio = repeat_batch(self.audio_scan(audio), len(motion))
        scanned = torch.cat((scanned_audio, self.motion_scan(seen)), dim=-1)
        return self.motion_attention(self.position(body)), self.out(scanned)
