"""Sound and words become one feature per frame: steps 1 to 3 of the generator, the same in every
pass of a step.
"""

import torch
from torch import Tensor, nn

from mambatalk.models.generator.audio_encoder import AudioEncoder


class Fusion(nn.Module):
    """One branch (face or body): embed the words, encode the sound, gate between them channel by
    channel.

    Source: paper, multimodal fusion; published `text_pre_encoder`, `audio_pre_encoder`, `at_attn`.
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
        """Fuse.

        Args:
            wave: Sound channels (B, S, channels) at 16 kHz.
            words: Word ids (B, T), one a frame.

        Returns:
            (B, T, audio_dim).

        """
        word = self.word_projection(self.embedding(words))
        audio = fit_steps(self.audio(wave), words.shape[1])
        # Softmax over two numbers is the sigmoid of their difference, in a fiftieth of the time.
        gate = self.gate(torch.cat((word, audio), dim=-1)).unflatten(-1, (-1, 2))
        share = torch.sigmoid(gate[..., 0] - gate[..., 1])
        return torch.lerp(word, audio, share)


def fit_steps(x: Tensor, steps: int) -> Tensor:
    """Crop (B, T, C) to `steps`, or lengthen it by copies of its last steps, as published.

    Raises:
        ValueError: More than the whole length would have to be copied.

    """
    missing = steps - x.shape[1]
    if missing <= 0:
        return x[:, :steps]
    if missing > x.shape[1]:
        raise ValueError(f"sound of {x.shape[1]} steps is too short for {steps} frames")
    return torch.cat((x, x[:, -missing:]), dim=1)
