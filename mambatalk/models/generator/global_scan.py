"""Global scan of the generator: partly hidden motion, speaker and audio to a state of the body."""

from functools import partial

import torch
from torch import Tensor, nn

from mambatalk.models.generator.layers import MLP, PositionalEncoding
from mambatalk.models.generator.speaker import SpeakerForm, speaker_condition
from mambatalk.models.mamba.attention import EncoderLayer, repeat_batch
from mambatalk.models.mamba.block import MambaScan
from mambatalk.models.parallel import side_by_side
from mambatalk.models.vq.vqvae import ConvEncoder
from mambatalk.motion.skeleton import MOTION_DIM


class GlobalScan(nn.Module):
    """Motion encoder, attention over motion and speaker, and scans of motion and audio.

    Source: paper, global scan.

    Args:
        hidden: Channels of the states.
        audio_dim: Channels of the fused features.
        motion_dim: Channels of the encoded motion.
        motion_layers: Layers of the motion encoder.
        heads: Attention heads.
        dropout: Probability of dropout.
        scans: Whether motion and audio are scanned, or passed on unchanged.
        speaker: How the state depends on the speaker.

    """

    def __init__(
        self,
        *,
        hidden: int,
        audio_dim: int,
        motion_dim: int,
        motion_layers: int,
        heads: int,
        dropout: float,
        scans: bool = True,
        speaker: SpeakerForm = "added",
    ) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.zeros(1, 1, MOTION_DIM))
        self.motion_encoder = ConvEncoder(MOTION_DIM, motion_dim, motion_layers)
        self.motion_mlp = MLP(motion_dim, hidden, motion_dim)
        self.motion_projection = nn.Linear(motion_dim, hidden)
        self.position = PositionalEncoding(hidden, dropout)
        self.speaker_attention: nn.Module = nn.Identity()
        if speaker == "added":
            self.speaker_attention = EncoderLayer(hidden, heads, dropout)
        self.condition = speaker_condition(speaker, hidden, heads, dropout)
        self.motion_attention = EncoderLayer(hidden, heads, dropout)
        self.audio_scan: nn.Module = nn.Identity()
        self.motion_scan: nn.Module = nn.Identity()
        if scans:
            self.audio_scan = MambaScan(audio_dim, 2 * audio_dim, audio_dim, 1)
            self.motion_scan = MambaScan(motion_dim, hidden, motion_dim, 1)
        self.out = nn.Linear(audio_dim + motion_dim, hidden)

    def forward(
        self, audio: Tensor, speaker: Tensor, motion: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Process a window.

        Args:
            audio: Fused features of the face branch (B, T, audio_dim), or (B / n, T, audio_dim) if
                the batch holds n passes over the same windows.
            speaker: Speaker vectors of the body branch (B, T, hidden), or (B, K, hidden) for
                attention to them.
            motion: Motion (B, T, 337).
            mask: True where motion is hidden (B, T, 337). A learnable vector replaces it there.

        Returns:
            State of the body (B, T, hidden) and hint for the face (B, T, hidden).

        """
        # The audio is the same in every pass and has no dropout, so one scan serves all passes.
        scanned_audio, visible = side_by_side(
            [partial(self.audio_scan, audio), partial(self._encode_motion, motion, mask)]
        )
        body, scanned_motion = side_by_side(
            [partial(self._body_state, visible, speaker), partial(self.motion_scan, visible)]
        )
        scanned = torch.cat((repeat_batch(scanned_audio, len(motion)), scanned_motion), dim=-1)
        return body, self.out(scanned)

    def _encode_motion(self, motion: Tensor, mask: Tensor) -> Tensor:
        encoded: Tensor = self.motion_encoder(torch.where(mask, self.query, motion))
        return encoded

    def _body_state(self, visible: Tensor, speaker: Tensor) -> Tensor:
        body = self.motion_projection(self.motion_mlp(visible))
        body = self.condition(body, self.speaker_attention(speaker))
        attended: Tensor = self.motion_attention(self.position(body))
        return attended
