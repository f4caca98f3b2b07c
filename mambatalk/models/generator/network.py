"""The generator: sound, words, speaker and partly hidden motion to latents and codes of four body
parts.

All parts of a window come out at once, one latent and one row of code logits per frame. Source:
paper, model section; published `MambaTalk`. Dropped because nothing reads its result: the face
branch's speaker attention (3,546,624 parameters of the published 199,366,553 at full size).
"""

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

from mambatalk.models.generator.fusion import Fusion
from mambatalk.models.generator.global_scan import GlobalScan
from mambatalk.models.generator.layers import repeat_batch
from mambatalk.models.generator.local_scan import LocalScan
from mambatalk.motion.skeleton import Part

FACE_CHANNELS = 3
BODY_CHANNELS = 2


@dataclass(frozen=True, kw_only=True)
class GeneratorConfig:
    """Sizes of a generator; the defaults are the published ones where the corpus does not set
    them.
    """

    vocabulary_size: int
    speakers: int = 25
    hidden: int = 768
    audio_dim: int = 512
    audio_width: int = 128
    """Channels of the sound encoders' first blocks."""
    word_dim: int = 300
    motion_dim: int = 256
    """Channels of the encoded input motion."""
    code_dim: int = 256
    """Channels of a code vector: the auto-encoders' width."""
    codebook_size: int = 256
    dropout: float = 0.1
    attention_heads: int = 4
    local_heads: int = 8
    decoder_layers: int = 8
    motion_layers: int = 3
    face_layers: int = 4
    aligned: bool = False
    """Whether the body's attention to the sound leans to each frame's own time; published, it
    cannot tell times.
    """


class Fused(NamedTuple):
    """What sound and words give, the same for every mask."""

    face: Tensor
    """(B, T, audio_dim)."""
    body: Tensor
    """(B, T, audio_dim)."""


class GeneratorOutput(NamedTuple):
    """What the generator says of each part."""

    latent: dict[Part, Tensor]
    """Code vectors (B, T, code_dim)."""
    logits: dict[Part, Tensor]
    """Unnormalised log-probabilities of the codes (B, T, codebook_size)."""


class Generator(nn.Module):
    """The network; see `GeneratorConfig` for its sizes."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        self.fusion = nn.ModuleDict(
            {
                branch: Fusion(
                    channels=channels,
                    audio_dim=config.audio_dim,
                    audio_width=config.audio_width,
                    vocabulary_size=config.vocabulary_size,
                    word_dim=config.word_dim,
                )
                for branch, channels in (("face", FACE_CHANNELS), ("body", BODY_CHANNELS))
            }
        )
        self.speaker = nn.ModuleDict(
            {branch: nn.Embedding(config.speakers, config.hidden) for branch in ("face", "body")}
        )
        self.global_scan = GlobalScan(
            hidden=config.hidden,
            audio_dim=config.audio_dim,
            motion_dim=config.motion_dim,
            motion_layers=config.motion_layers,
            heads=config.attention_heads,
            dropout=config.dropout,
        )
        self.local_scan = LocalScan(
            hidden=config.hidden,
            audio_dim=config.audio_dim,
            code_dim=config.code_dim,
            codebook_size=config.codebook_size,
            face_layers=config.face_layers,
            decoder_layers=config.decoder_layers,
            decoder_heads=config.attention_heads,
            heads=config.local_heads,
            dropout=config.dropout,
            aligned=config.aligned,
        )

    def fuse(self, wave_face: Tensor, wave_body: Tensor, words: Tensor) -> Fused:
        """Sound channels (B, S, 3) and (B, S, 2) at 16 kHz and word ids (B, T) to features, once
        for all passes.
        """
        return Fused(self.fusion["face"](wave_face, words), self.fusion["body"](wave_body, words))

    def forward_fused(
        self, fused: Fused, speaker: Tensor, motion: Tensor, mask: Tensor
    ) -> GeneratorOutput:
        """Run one pass, or several side by side.

        Args:
            fused: Output of `fuse` for B windows, or for the B / n windows of n passes that follow
                each other along the batch.
            speaker: Speaker indices (B, T).
            motion: Motion (B, T, 337): 6D rotations, translation in metres, contacts; 30 fps.
            mask: True where `motion` is hidden (B, T, 337).

        """
        speaker_body = self.speaker["body"](speaker)
        motion_state, hint = self.global_scan(fused.face, speaker_body, motion, mask)
        return GeneratorOutput(
            *self.local_scan(
                motion_state,
                hint,
                repeat_batch(fused.body, len(motion)),
                self.speaker["face"](speaker),
                speaker_body,
            )
        )

    def forward(
        self,
        wave_face: Tensor,
        wave_body: Tensor,
        words: Tensor,
        speaker: Tensor,
        motion: Tensor,
        mask: Tensor,
    ) -> GeneratorOutput:
        """`fuse`, then `forward_fused`."""
        return self.forward_fused(self.fuse(wave_face, wave_body, words), speaker, motion, mask)
