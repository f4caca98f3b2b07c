"""The generator: audio, words, speaker and partly hidden motion to codes of four body parts.

One pass predicts all parts and all frames of a window: a latent and a row of code logits per part
and frame, or motion channels if these are its target. Source: paper, model section; published
`MambaTalk`. The speaker attention of the published face branch is left out because its result is
not used (3,546,624 of 199,366,553 parameters at full size).
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mambatalk.audio.channels import causal_envelope
from mambatalk.models.generator.fusion import Fusion
from mambatalk.models.generator.global_scan import GlobalScan
from mambatalk.models.generator.layers import ChannelHead
from mambatalk.models.generator.local_scan import LocalScan, Target
from mambatalk.models.generator.speaker import SPEAKER_VECTORS, SpeakerForm
from mambatalk.motion.skeleton import FPS, SAMPLE_RATE, Part
from mambatalk.text.vocabulary import PAD

FACE_CHANNELS = 3
"""Audio channels of the face branch."""

BODY_CHANNELS = 2
"""Audio channels of the body branch."""


@dataclass(frozen=True, kw_only=True)
class GeneratorConfig:
    """Sizes of a generator. The defaults are the published sizes."""

    vocabulary_size: int
    """Number of words; it depends on the corpus and has no default."""

    speakers: int = 25
    """Number of rows of the speaker embeddings."""

    hidden: int = 768
    """Channels of the states."""

    audio_dim: int = 512
    """Channels of the fused audio and word features."""

    audio_width: int = 128
    """Channels of the first blocks of the audio encoders."""

    word_dim: int = 300
    """Channels of a word's embedding."""

    motion_dim: int = 256
    """Channels of the encoded input motion."""

    code_dim: int = 256
    """Channels of a latent; the width of the auto-encoders."""

    codebook_size: int = 256
    """Number of codes per part."""

    dropout: float = 0.1
    """Probability of dropout."""

    attention_heads: int = 4
    """Heads of the attention in the global scan, and of the attention to the audio."""

    local_heads: int = 8
    """Heads of the attention in the local scans."""

    decoder_layers: int = 8
    """Layers of the attention to the audio."""

    motion_layers: int = 3
    """Layers of the motion encoder."""

    face_layers: int = 4
    """Mamba layers of the face's local scan."""

    aligned: bool = False
    """Whether the attention of the body to the audio prefers frames that are near in time.

    The published attention does not depend on the time of an audio frame; see `LocalScan`.
    """

    global_scan: bool = True
    """Whether the global scan scans; if not, its scans are left out, as in the paper's ablation."""

    local_scan: bool = True
    """The same for the local scans."""

    use_words: bool = True
    """Whether the words are an input; if not, every frame has the word of index 0, padding."""

    speaker: SpeakerForm = "added"
    """How the states depend on the speaker (`models/generator/speaker.py`)."""

    target: Target = "codes"
    """What the network predicts: codes of the auto-encoders, or the motion channels that these
    reconstruct (`motion/parts.py`), as in the paper's ablation.
    """

    streaming: bool = False
    """Whether the network was trained on audio whose end has not arrived, with an envelope that
    depends on no later sample.
    """


class Fused(NamedTuple):
    """Fused audio and word features of both branches. They do not depend on motion or mask."""

    face: Tensor
    """Features of the face branch (B, T, audio_dim)."""

    body: Tensor
    """Features of the body branch (B, T, audio_dim)."""


class GeneratorOutput(NamedTuple):
    """Predictions of the generator for each part."""

    latent: dict[Part, Tensor]
    """Latents (B, T, code_dim); with the target `motion`, motion channels (B, T, D)."""

    logits: dict[Part, Tensor]
    """Unnormalised log-probabilities of the codes (B, T, codebook_size); empty with the target
    `motion`.
    """


class Generator(nn.Module):
    """The generator network.

    Args:
        config: Sizes.

    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        audio_channels = {"face": FACE_CHANNELS, "body": BODY_CHANNELS}
        self.fusion = nn.ModuleDict(
            {
                branch: Fusion(
                    channels=channels,
                    audio_dim=config.audio_dim,
                    audio_width=config.audio_width,
                    vocabulary_size=config.vocabulary_size,
                    word_dim=config.word_dim,
                )
                for branch, channels in audio_channels.items()
            }
        )
        vectors = SPEAKER_VECTORS if config.speaker == "attention" else 1
        self.speaker = nn.ModuleDict(
            {
                branch: nn.Embedding(config.speakers, vectors * config.hidden)
                for branch in ("face", "body")
            }
        )
        self.global_scan = GlobalScan(
            hidden=config.hidden,
            audio_dim=config.audio_dim,
            motion_dim=config.motion_dim,
            motion_layers=config.motion_layers,
            heads=config.attention_heads,
            dropout=config.dropout,
            scans=config.global_scan,
            speaker=config.speaker,
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
            scans=config.local_scan,
            speaker=config.speaker,
            target=config.target,
        )

    @property
    def predicts_codes(self) -> bool:
        """Whether it predicts codes, which synthesis decodes, or motion."""
        return self.config.target == "codes"

    def channel_head(self, part: Part) -> ChannelHead:
        """Return the layer that predicts the motion channels of a part, with this target."""
        head = self.local_scan.to_latent[part]
        assert isinstance(head, ChannelHead)
        return head

    def fuse(
        self,
        wave_face: Tensor,
        wave_body: Tensor,
        words: Tensor,
        arrived: Tensor | None = None,
    ) -> Fused:
        """Compute the features of audio and words, which all passes over a window share.

        Args:
            wave_face: Audio channels of the face branch (B, S, 3) at 16 kHz.
            wave_body: Audio channels of the body branch (B, S, 2) at 16 kHz.
            words: Word ids (B, T), one per frame at 30 fps.
            arrived: Number of frames (B,) whose audio has arrived; later audio is replaced by
                silence, later words by padding. If None, everything has arrived.

        Returns:
            Features of both branches.

        """
        if not self.config.use_words:
            words = torch.zeros_like(words)
        if self.config.streaming:
            wave_face, wave_body = causal_envelope(wave_face), causal_envelope(wave_body)
        if arrived is not None:
            wave_face = _before(wave_face, arrived * SAMPLE_RATE // FPS, 0)
            wave_body = _before(wave_body, arrived * SAMPLE_RATE // FPS, 0)
            words = _before(words, arrived, PAD)
        return Fused(self.fusion["face"](wave_face, words), self.fusion["body"](wave_body, words))

    def forward_fused(
        self, fused: Fused, speaker: Tensor, motion: Tensor, mask: Tensor
    ) -> GeneratorOutput:
        """Predict latents and logits from fused features, in one pass or several in one batch.

        Args:
            fused: Output of `fuse` for the B windows. If the batch consists of n passes over the
                same windows, one pass after the other, for the B / n windows of one pass.
            speaker: Speaker indices (B, T), the same in all frames of a window.
            motion: Motion (B, T, 337): 6D rotations, translation in metres, contacts; 30 fps.
            mask: True where `motion` is hidden (B, T, 337).

        Returns:
            Predictions for all parts and frames.

        """
        speaker_body = self._speaker_vectors("body", speaker)
        body, hint = self.global_scan(fused.face, speaker_body, motion, mask)
        latent, logits = self.local_scan(
            body,
            hint,
            fused.body,
            self._speaker_vectors("face", speaker),
            speaker_body,
        )
        return GeneratorOutput(latent, logits)

    def _speaker_vectors(self, branch: str, speaker: Tensor) -> Tensor:
        """Return the vectors (B, T, hidden) of each frame, or those to attend to (B, K, hidden)."""
        if self.config.speaker != "attention":
            return self.speaker[branch](speaker)
        return self.speaker[branch](speaker[:, 0]).unflatten(-1, (SPEAKER_VECTORS, -1))

    def forward(
        self,
        wave_face: Tensor,
        wave_body: Tensor,
        words: Tensor,
        speaker: Tensor,
        motion: Tensor,
        mask: Tensor,
    ) -> GeneratorOutput:
        """Run `fuse` and `forward_fused`. See there for the arguments."""
        return self.forward_fused(self.fuse(wave_face, wave_body, words), speaker, motion, mask)


def _before(x: Tensor, lengths: Tensor, value: int) -> Tensor:
    """Replace the steps of x (B, S, ...) from the length (B,) of each row on."""
    late = torch.arange(x.shape[1], device=x.device) >= lengths[:, None]
    return x.masked_fill(late.reshape(*late.shape, *[1] * (x.ndim - 2)), value)
