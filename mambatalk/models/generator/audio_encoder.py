"""The sound encoder: strided residual convolutions with two side branches, 540 samples to a step.

Source: paper, audio features; published `WavEncoder`. A window of 34,133 or of 34,112 samples gives
64 steps.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

STRIDES = (5, 6, 1, 6, 1, 3)
PADDING = (1600, 0, 7, 0, 7, 0)


class AudioBlock(nn.Module):
    """Two convolutions of 15 taps with batch norms; the shortcut is a convolution unless `same`.
    (B, C, S) form.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        stride: int,
        padding: int = 0,
        *,
        same: bool = False,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(channels_in, channels_out, 15, stride, padding)
        self.bn1 = nn.BatchNorm1d(channels_out)
        self.conv2 = nn.Conv1d(channels_out, channels_out, 15, padding=7)
        self.bn2 = nn.BatchNorm1d(channels_out)
        self.activation = nn.LeakyReLU(0.01)
        self.shortcut: nn.Module = (
            nn.Identity()
            if same
            else nn.Sequential(
                nn.Conv1d(channels_in, channels_out, 15, stride, padding),
                nn.BatchNorm1d(channels_out),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels_in, S) to (B, channels_out, S // stride or so)."""
        y = self.bn2(self.conv2(self.activation(self.bn1(self.conv1(x)))))
        return self.activation(y + self.shortcut(x))


class AudioEncoder(nn.Module):
    """Sound channels (B, S, channels) at 16 kHz to features (B, T, dim), about 29.6 steps a second.

    Args:
        channels: Sound channels: 3 for the face, 2 for the body.
        width: Channels of the first blocks; later ones have twice as many.
        dim: Channels of the features.

    """

    def __init__(self, channels: int, width: int, dim: int) -> None:
        super().__init__()
        widths = (channels, width, width, width, 2 * width, 2 * width, dim)
        self.blocks = nn.ModuleList(
            AudioBlock(before, after, stride, padding, same=stride == 1)
            for (before, after), stride, padding in zip(
                pairwise(widths), STRIDES, PADDING, strict=True
            )
        )
        self.branches = nn.ModuleList(
            [
                nn.Sequential(AudioBlock(width, 2 * width, 6), AudioBlock(2 * width, dim, 3)),
                nn.Sequential(AudioBlock(2 * width, dim, 3)),
            ]
        )
        self.projection = nn.Linear(3 * dim, dim)

    def forward(self, wave: Tensor) -> Tensor:
        """Encode a window."""
        x, taps = wave.transpose(1, 2), []
        for k, block in enumerate(self.blocks):
            x = block(x)
            if k in (2, 4):
                taps.append(x)
        side = [branch(tap) for branch, tap in zip(self.branches, taps, strict=True)]
        return self.projection(torch.cat([*side, x], dim=1).transpose(1, 2))
