"""Fusion of audio and words into one feature vector per frame.

These are steps 1 to 3 of the generator. They do not depend on the motion, so a training step
computes them once for all its passes.
"""

import torch
from torch import Tensor, nn

from mambatalk.models.generator.audio_encoder import AudioEncoder


class Fusion(nn.Module):
    """Word embedding, audio encoder and a gate between the two for one branch, face or body.

    The gate weights words against audio for each channel and frame. Source: paper, multimodal
    fusion; published `text_pre_encoder`, `audio_pre_encoder`, `at_attn`.

    Args:
        channels: Audio channels: 3 for the face, 2 for the body.
        audio_dim: Channels of the fused features.
        audio_width: Channels of the audio encoder's first blocks.
        vocabulary_size: Number of words.
        word_dim: Channels of a word's embedding.

    """

    def __init__(
        self,
        *,
        channels: int,
        audio_dim: int,
        audio_width: int,
        vocabulary_size: int,
        word_dim: int,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, word_dim)
        nn.init.normal_(self.embedding.weight, std=word_dim**-0.5)
        self.word_projection = nn.Linear(word_dim, audio_dim)
        self.audio = AudioEncoder(channels, audio_width, audio_dim)
        self.gate = nn.Linear(2 * audio_dim, 2 * audio_dim)

    def forward(self, wave: Tensor, words: Tensor) -> Tensor:
        """Fuse the audio and the words of a window.

        Args:
            wave: Audio channels (B, S, channels) at 16 kHz.
            words: Word ids (B, T), one per frame at 30 fps.

        Returns:
            Fused features (B, T, audio_dim).

        Raises:
            ValueError: The audio is shorter than half of the frames.

        """
        word = self.word_projection(self.embedding(words))
        audio = fit_steps(self.audio(wave), words.shape[1])

        # The published gate is a softmax over two logits. The sigmoid of their difference is the
        # same number and takes a fiftieth of the time.
        gate = self.gate(torch.cat((word, audio), dim=-1)).unflatten(-1, (-1, 2))
        share = torch.sigmoid(gate[..., 0] - gate[..., 1])
        return torch.lerp(word, audio, share)


def fit_steps(x: Tensor, steps: int) -> Tensor:
    """Crop features to a number of steps, or repeat their last steps, as published.

    Args:
        x: Features (B, T, C).
        steps: Length of the result.

    Returns:
        Features (B, steps, C).

    Raises:
        ValueError: More steps are missing than there are.

    """
    missing = steps - x.shape[1]
    if missing <= 0:
        return x[:, :steps]
    if missing > x.shape[1]:
        raise ValueError(
            f"expected audio of at least {-(-steps // 2)} steps for {steps} frames,"
            f" found {x.shape[1]}"
        )
    return torch.cat((x, x[:, -missing:]), dim=1)
