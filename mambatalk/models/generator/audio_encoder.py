"""The audio encoder: strided residual convolutions with two side branches.

The strides multiply to 540 samples per step. A window of 34,133 or 34,112 samples gives 64 steps.
On a CPU the tensors (B, C, S) keep channels innermost in memory, and convolutions of few channels
are folded (`fold_weight`). Source: paper, audio features; published `WavEncoder`.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

STRIDES = (5, 6, 1, 6, 1, 3)
"""Strides of the six blocks."""

PADDING = (1600, 0, 7, 0, 7, 0)
"""Zeros on both sides of the input of the six blocks."""

BRANCH_BLOCKS = (2, 4)
"""Indices of the blocks whose output feeds a side branch."""

FEW_CHANNELS = 16
"""Convolutions with fewer input channels are folded to have about this many."""


class AudioConv(nn.Conv1d):
    """A convolution that is also fast on a CPU if it has few channels."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve.

        Args:
            x: Input (B, C, S).

        Returns:
            Output (B, C', S'); on a CPU with channels innermost in memory.

        """
        if x.is_cuda:
            return super().forward(x)

        stride = self.stride[0]
        padding = int(self.padding[0])
        if self.in_channels >= FEW_CHANNELS:
            image = x.transpose(1, 2).contiguous().transpose(1, 2).unsqueeze(2)
            kernel = self.weight.unsqueeze(2)
            return functional.conv2d(image, kernel, self.bias, (1, stride), (0, padding)).squeeze(2)

        # For 2, 3 or 8 channels oneDNN takes several times as long as the arithmetic needs.
        steps = (x.shape[-1] + 2 * padding - self.kernel_size[0]) // stride + 1
        group = max(1, FEW_CHANNELS // (stride * self.in_channels))
        weight = fold_weight(self.weight, stride, group)
        groups = -(-steps // group)
        length = (groups + weight.shape[-1] - 1) * group * stride

        # Pad or crop to whole steps of the folded convolution.
        rows = x.transpose(1, 2)
        if padding or length != rows.shape[1]:
            rows = functional.pad(rows, (0, 0, padding, length - padding - rows.shape[1]))
        folded = rows.reshape(len(x), -1, weight.shape[1]).transpose(1, 2).unsqueeze(2)

        bias = None if self.bias is None else self.bias.repeat(group)
        y = functional.conv2d(folded, weight.unsqueeze(2), bias).squeeze(2).transpose(1, 2)
        return y.reshape(len(x), groups * group, self.out_channels)[:, :steps].transpose(1, 2)


class AudioNorm(nn.BatchNorm1d):
    """A batch norm that reads and writes memory with channels innermost on a CPU."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each channel of (B, C, S) over batch and time."""
        if x.is_cuda:
            return super().forward(x)
        rows = x.transpose(1, 2)
        return super().forward(rows.flatten(0, 1)).view(rows.shape).transpose(1, 2)


def fold_weight(weight: Tensor, stride: int, group: int) -> Tensor:
    """Rewrite a convolution as one of stride 1 with fewer steps and more channels.

    `group` consecutive outputs become the channels of one output step, and `group * stride`
    consecutive inputs become the channels of one input step. The sums are the same, apart from
    additional terms that are zero.

    Args:
        weight: Weights (O, C, K) of the convolution.
        stride: Stride of the convolution.
        group: Outputs per step of the folded convolution.

    Returns:
        Weights (group * O, group * stride * C, taps) of the folded convolution.

    """
    channels_out, channels_in, kernel = weight.shape
    width = group * stride
    taps = -(-(kernel + (group - 1) * stride) // width)
    shifted = [
        functional.pad(weight, (index * stride, taps * width - kernel - index * stride))
        for index in range(group)
    ]
    blocks = torch.stack(shifted).view(group, channels_out, channels_in, taps, width)
    return blocks.permute(0, 1, 4, 2, 3).reshape(group * channels_out, width * channels_in, taps)


class AudioBlock(nn.Module):
    """Residual block: two convolutions of 15 taps with batch norms, and a shortcut.

    Args:
        channels_in: Channels of the input.
        channels_out: Channels of the output.
        stride: Stride of the first convolution.
        padding: Zeros on both sides of the input of the first convolution.
        same: Whether the shortcut is the identity. Otherwise it is a convolution like the first.

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
        self.conv1 = AudioConv(channels_in, channels_out, 15, stride, padding)
        self.bn1 = AudioNorm(channels_out)
        self.conv2 = AudioConv(channels_out, channels_out, 15, padding=7)
        self.bn2 = AudioNorm(channels_out)
        self.activation = nn.LeakyReLU(0.01)
        self.shortcut: nn.Module = (
            nn.Identity()
            if same
            else nn.Sequential(
                AudioConv(channels_in, channels_out, 15, stride, padding),
                AudioNorm(channels_out),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels_in, S) to (B, channels_out, S'), with S' steps of `stride` samples."""
        y = self.bn2(self.conv2(self.activation(self.bn1(self.conv1(x)))))
        return self.activation(y + self.shortcut(x))


class AudioEncoder(nn.Module):
    """Encoder from audio at 16 kHz to features, at 29.6 steps per second.

    Args:
        channels: Audio channels: 3 for the face, 2 for the body.
        width: Channels of the first three blocks; the next two have twice as many.
        dim: Channels of the features.

    """

    def __init__(self, channels: int, width: int, dim: int) -> None:
        super().__init__()
        widths = (channels, width, width, width, 2 * width, 2 * width, dim)
        sizes = zip(pairwise(widths), STRIDES, PADDING, strict=True)
        self.blocks = nn.ModuleList(
            AudioBlock(before, after, stride, padding, same=stride == 1)
            for (before, after), stride, padding in sizes
        )
        self.branches = nn.ModuleList(
            [
                nn.Sequential(AudioBlock(width, 2 * width, 6), AudioBlock(2 * width, dim, 3)),
                nn.Sequential(AudioBlock(2 * width, dim, 3)),
            ]
        )
        self.projection = nn.Linear(3 * dim, dim)

    def forward(self, wave: Tensor) -> Tensor:
        """Encode a window.

        Args:
            wave: Audio channels (B, S, channels) at 16 kHz.

        Returns:
            Features (B, T, dim).

        """
        x = wave.transpose(1, 2)
        taps = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in BRANCH_BLOCKS:
                taps.append(x)

        side = [branch(tap) for branch, tap in zip(self.branches, taps, strict=True)]
        return self.projection(torch.cat([*side, x], dim=1).transpose(1, 2))
