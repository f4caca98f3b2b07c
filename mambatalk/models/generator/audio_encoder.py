"""The audio encoder: strided residual convolutions with two side branches, 540 samples to a step.

On a CPU the tensors (B, C, S) keep channels innermost in memory, and convolutions of few channels
are folded (`fold_weight`). Source: paper, audio features; published `WavEncoder`. A window of
34,133 or of 34,112 samples gives 64 steps.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

STRIDES = (5, 6, 1, 6, 1, 3)
PADDING = (1600, 0, 7, 0, 7, 0)

FEW_CHANNELS = 16
"""A convolution of fewer input channels is folded until a step has at least this many."""


class AudioConv(nn.Conv1d):
    """A convolution that is fast on a CPU for few channels too, (B, C, S) to (B, C', S')."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve; on a CPU, read and write memory with channels innermost."""
        if x.is_cuda:
            return super().forward(x)

        stride, padding = self.stride[0], int(self.padding[0])
        if self.in_channels >= FEW_CHANNELS:
            image = x.transpose(1, 2).contiguous().transpose(1, 2).unsqueeze(2)
            kernel = self.weight.unsqueeze(2)
            return functional.conv2d(image, kernel, self.bias, (1, stride), (0, padding)).squeeze(2)

        # oneDNN takes several times as long for 2, 3 or 8 channels as its arithmetic needs.
        steps = (x.shape[-1] + 2 * padding - self.kernel_size[0]) // stride + 1
        group = max(1, FEW_CHANNELS // (stride * self.in_channels))
        weight = fold_weight(self.weight, stride, group)
        groups = -(-steps // group)
        length = (groups + weight.shape[-1] - 1) * group * stride
        rows = x.transpose(1, 2)
        if padding or length != rows.shape[1]:
            rows = functional.pad(rows, (0, 0, padding, length - padding - rows.shape[1]))
        folded = rows.reshape(len(x), -1, weight.shape[1]).transpose(1, 2).unsqueeze(2)
        bias = None if self.bias is None else self.bias.repeat(group)
        y = functional.conv2d(folded, weight.unsqueeze(2), bias).squeeze(2).transpose(1, 2)
        return y.reshape(len(x), groups * group, self.out_channels)[:, :steps].transpose(1, 2)


class AudioNorm(nn.BatchNorm1d):
    """A batch norm of (B, C, S) that reads and writes memory with channels innermost on a CPU."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each channel over the batch and time."""
        if x.is_cuda:
            return super().forward(x)
        rows = x.transpose(1, 2)
        return super().forward(rows.flatten(0, 1)).view(rows.shape).transpose(1, 2)


def fold_weight(weight: Tensor, stride: int, group: int) -> Tensor:
    """Rewrite a convolution so that its steps are wider and fewer, with stride 1.

    `group` outputs that follow each other become one step of `group` times the channels, and the
    `group * stride` inputs between two such steps become the channels of one. The sums are the
    same, apart from terms that are zero.

    Args:
        weight: Weights (O, C, K).
        stride: Stride of the convolution.
        group: Outputs in a step.

    Returns:
        Weights (group * O, group * stride * C, taps).

    """
    channels_out, channels_in, kernel = weight.shape
    width = group * stride
    taps = -(-(kernel + (group - 1) * stride) // width)
    shifted = [
        functional.pad(weight, (place * stride, taps * width - kernel - place * stride))
        for place in range(group)
    ]
    blocks = torch.stack(shifted).view(group, channels_out, channels_in, taps, width)
    return blocks.permute(0, 1, 4, 2, 3).reshape(group * channels_out, width * channels_in, taps)


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
        """(B, channels_in, S) to (B, channels_out, S // stride or so)."""
        y = self.bn2(self.conv2(self.activation(self.bn1(self.conv1(x)))))
        return self.activation(y + self.shortcut(x))


class AudioEncoder(nn.Module):
    """Audio channels (B, S, channels) at 16 kHz to features (B, T, dim), about 29.6 steps a second.

    Args:
        channels: Audio channels: 3 for the face, 2 for the body.
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
