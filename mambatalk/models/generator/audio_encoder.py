"""The audio encoder: strided residual convolutions with two side branches.

The strides multiply to 540 samples per step. A window of 34,133 or 34,112 samples gives 64 steps.
The tensors (B, C, S) keep channels innermost in memory: the layout in which convolutions and batch
norms run fastest, on CPUs and on GPUs. On a CPU convolutions of few channels are folded
(`fold_weight`). Source: paper, audio features; published `WavEncoder`.
"""

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from mambatalk.models.generator.folded_block import SLOPE, FoldedBlock
from mambatalk.models.generator.tiled_conv import tiled_conv
from mambatalk.models.mamba.compiled.load import is_compiled
from mambatalk.models.mamba.compiled.norm import CompiledNorm

STRIDES = (5, 6, 1, 6, 1, 3)
"""Strides of the six blocks."""

PADDING = (1600, 0, 7, 0, 7, 0)
"""Zeros on both sides of the input of the six blocks."""

BRANCH_BLOCKS = (2, 4)
"""Indices of the blocks whose output feeds a side branch."""

TAPS = 15
"""Taps of every convolution."""

FEW_CHANNELS = 16
"""Convolutions with fewer input channels are folded to have about this many."""

MANY_CHANNELS = 128
"""Channels from which on a block without gradients works in place, and may tile convolutions."""

LONG = 512
"""Length from which on copying the inputs of all taps takes longer than oneDNN's convolution."""

STEPS_OF_A_CHANNEL = 1.5
"""Steps of all sequences, per input channel, from which on a tiled convolution is faster: the
weights are transformed in every call, which takes longer the more channels there are."""


def audio_conv(
    x: Tensor, weight: Tensor, bias: Tensor | None, *, stride: int, padding: int
) -> Tensor:
    """Convolve on a CPU, where PyTorch is slow for few channels.

    Args:
        x: Input (B, C, S).
        weight: Weights (O, C, K).
        bias: Offsets (O,). If None, zero.
        stride: Input samples per output sample.
        padding: Zeros on both sides of the input.

    Returns:
        Output (B, O, S'), with channels innermost in memory.

    """
    channels_out, channels_in, kernel = weight.shape
    if channels_in >= FEW_CHANNELS:
        image = x.transpose(1, 2).contiguous().transpose(1, 2).unsqueeze(2)
        kernels = weight.unsqueeze(2)
        return functional.conv2d(image, kernels, bias, (1, stride), (0, padding)).squeeze(2)

    # For 2, 3 or 8 channels oneDNN takes several times as long as the arithmetic needs.
    steps = (x.shape[-1] + 2 * padding - kernel) // stride + 1
    group = max(1, FEW_CHANNELS // (stride * channels_in))
    folded_weight = fold_weight(weight, stride, group)
    groups = -(-steps // group)
    length = (groups + folded_weight.shape[-1] - 1) * group * stride

    # Pad or crop to whole steps of the folded convolution.
    rows = x.transpose(1, 2)
    if padding or length != rows.shape[1]:
        rows = functional.pad(rows, (0, 0, padding, length - padding - rows.shape[1]))
    folded = rows.reshape(len(x), -1, folded_weight.shape[1]).transpose(1, 2).unsqueeze(2)

    offset = None if bias is None else bias.repeat(group)
    y = functional.conv2d(folded, folded_weight.unsqueeze(2), offset).squeeze(2).transpose(1, 2)
    return y.reshape(len(x), groups * group, channels_out)[:, :steps].transpose(1, 2)


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
        self.conv1 = nn.Conv1d(channels_in, channels_out, TAPS, stride, padding)
        self.bn1 = nn.BatchNorm1d(channels_out)
        self.conv2 = nn.Conv1d(channels_out, channels_out, TAPS, padding=TAPS // 2)
        self.bn2 = nn.BatchNorm1d(channels_out)
        self.activation = nn.LeakyReLU(SLOPE)
        self.shortcut: nn.Module = (
            nn.Identity()
            if same
            else nn.Sequential(
                nn.Conv1d(channels_in, channels_out, TAPS, stride, padding),
                nn.BatchNorm1d(channels_out),
            )
        )
        self.folded: FoldedBlock | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels_in, S) to (B, channels_out, S'), with S' steps of `stride` samples."""
        if x.is_cuda:
            return self._on_gpu(x.unsqueeze(2)).squeeze(2)
        if self.conv2.out_channels >= MANY_CHANNELS and not (
            self.training or torch.is_grad_enabled()
        ):
            return self._in_place(x)

        # The first convolution and the shortcut read the same input, so they run as one.
        if isinstance(self.shortcut, nn.Sequential):
            conv, norm = cast(tuple[nn.Conv1d, nn.BatchNorm1d], tuple(self.shortcut))
            y = _normalised(_convolved(x, self.conv1, conv), (self.bn1, SLOPE), (norm, 1.0))
            # Split in the order of memory; otherwise the gradient is copied twice.
            y, skip = (part.transpose(1, 2) for part in y.transpose(1, 2).chunk(2, dim=-1))
        else:
            y = _normalised(_convolved(x, self.conv1), (self.bn1, SLOPE))
            skip = x
        y = _normalised(_convolved(y, self.conv2), (self.bn2, 1.0))
        return self.activation(y + skip)

    def _in_place(self, x: Tensor) -> Tensor:
        """Run without gradients. New memory for every result takes longer than the arithmetic."""
        first = _convolved_and_scaled(x, self.conv1, self.bn1)
        y = functional.leaky_relu_(first, SLOPE)
        y = _convolved_and_scaled(y, self.conv2, self.bn2)
        skip = x
        if isinstance(self.shortcut, nn.Sequential):
            conv, norm = cast(tuple[nn.Conv1d, nn.BatchNorm1d], tuple(self.shortcut))
            skip = _convolved_and_scaled(x, conv, norm)
        return functional.leaky_relu_(y.add_(skip), SLOPE)

    def _on_gpu(self, image: Tensor) -> Tensor:
        """Run on images (B, C, 1, S): only in two dimensions do kernels keep channels innermost."""
        if self.folded is not None and not self.training and _computes_in(self.folded.dtype):
            return self.folded(image)
        y = _image_norm(_image_conv(image, self.conv1), self.bn1)
        y = _image_norm(_image_conv(self.activation(y), self.conv2), self.bn2)
        if isinstance(self.shortcut, nn.Sequential):
            conv, norm = cast(tuple[nn.Conv1d, nn.BatchNorm1d], tuple(self.shortcut))
            image = _image_norm(_image_conv(image, conv), norm)
        return self.activation(y + image)


def _computes_in(dtype: torch.dtype) -> bool:
    """Return whether autocast on GPUs computes in `dtype`."""
    return torch.is_autocast_enabled("cuda") and torch.get_autocast_dtype("cuda") == dtype


def _image_conv(image: Tensor, conv: nn.Conv1d) -> Tensor:
    """Convolve images (B, C, 1, S) with channels innermost along their last dimension."""
    weight = conv.weight.unsqueeze(2).contiguous(memory_format=torch.channels_last)
    padding = (0, int(conv.padding[0]))
    return functional.conv2d(image, weight, conv.bias, (1, conv.stride[0]), padding)


def _image_norm(image: Tensor, norm: nn.BatchNorm1d) -> Tensor:
    """Apply a batch norm to images (B, C, 1, S), and update its statistics in training."""
    if norm.training:
        cast(Tensor, norm.num_batches_tracked).add_(1)
    return functional.batch_norm(
        image,
        norm.running_mean,
        norm.running_var,
        norm.weight,
        norm.bias,
        norm.training,
        cast(float, norm.momentum),
        norm.eps,
    )


def _convolved(x: Tensor, *convs: nn.Conv1d) -> Tensor:
    """Apply convolutions of the same size to (B, C, S), their outputs side by side."""
    first = convs[0]
    weight = _joined([conv.weight for conv in convs])
    bias = _joined([cast(Tensor, conv.bias) for conv in convs])
    return audio_conv(x, weight, bias, stride=first.stride[0], padding=int(first.padding[0]))


def _convolved_and_scaled(x: Tensor, conv: nn.Conv1d, norm: nn.BatchNorm1d) -> Tensor:
    """Convolve (B, C, S), and apply the batch norm of evaluation in the same memory."""
    rows = x.transpose(1, 2)
    stride, padding = conv.stride[0], int(conv.padding[0])
    many = rows.shape[:2].numel() >= STEPS_OF_A_CHANNEL * conv.in_channels
    if many and stride == 1 and conv.in_channels >= MANY_CHANNELS:
        y = tiled_conv(rows, conv.weight, padding=padding)
    elif rows.shape[1] < LONG and conv.weight.permute(2, 1, 0).is_contiguous():
        y = _product_conv(rows, conv.weight, stride=stride, padding=padding)
    else:
        y = audio_conv(x, conv.weight, None, stride=stride, padding=padding).transpose(1, 2)
    mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
    scale = norm.weight * (variance + norm.eps).rsqrt()
    offset = (cast(Tensor, conv.bias) - mean) * scale + norm.bias
    return torch.addcmul(offset, y, scale, out=y).transpose(1, 2)


def _product_conv(rows: Tensor, weight: Tensor, *, stride: int, padding: int) -> Tensor:
    """Convolve rows (B, S, C) to (B, S', O) as one product, with weights that are packed."""
    channels_out, channels_in, taps = weight.shape
    padded = functional.pad(rows, (0, 0, padding, padding))
    windows = padded.unfold(1, taps, stride).transpose(2, 3)
    batch, steps = windows.shape[:2]
    inputs = windows.reshape(batch * steps, taps * channels_in)
    y = inputs @ weight.permute(2, 1, 0).reshape(taps * channels_in, channels_out)
    return y.view(batch, steps, channels_out)


def pack(network: nn.Module) -> None:
    """Lay out the weights of wide audio blocks as inference on a CPU reads them.

    Their values do not change. oneDNN, which would otherwise run these convolutions, lays the
    weights out anew in every call, which takes longer than the convolution of one window.
    """
    for block in network.modules():
        if not isinstance(block, AudioBlock) or block.conv2.out_channels < MANY_CHANNELS:
            continue
        for conv in block.modules():
            if isinstance(conv, nn.Conv1d) and conv.in_channels >= MANY_CHANNELS:
                conv.weight.data = conv.weight.data.permute(2, 1, 0).contiguous().permute(2, 1, 0)


def fold_norms(network: nn.Module, dtype: torch.dtype) -> None:
    """Give audio blocks on a GPU weights in half precision that include their batch norms.

    They are used in evaluation, while autocast computes in this precision. Later changes of the
    network's weights do not reach them.

    Args:
        network: The network, in evaluation mode.
        dtype: `torch.bfloat16` or `torch.float16`.

    """
    for block in network.modules():
        if isinstance(block, AudioBlock) and block.folded is None:
            convs = [(block.conv1, block.bn1), (block.conv2, block.bn2)]
            if isinstance(block.shortcut, nn.Sequential):
                convs.append(cast(tuple[nn.Conv1d, nn.BatchNorm1d], tuple(block.shortcut)))
            block.folded = FoldedBlock(convs, dtype)


def _joined(tensors: list[Tensor]) -> Tensor:
    return torch.cat(tensors) if len(tensors) > 1 else tensors[0]


def _normalised(x: Tensor, *norms: tuple[nn.BatchNorm1d, float]) -> Tensor:
    """Apply batch norms, each followed by a leaky ReLU of a slope, to parts of the channels.

    Args:
        x: Input (B, C, S), with channels innermost in memory.
        norms: Norm and slope of each part, in order. Slope 1 is no activation.

    Returns:
        Output (B, C, S), with channels innermost in memory.

    """
    rows = x.transpose(1, 2)
    if not (norms[0][0].training and is_compiled(x)):
        parts = rows.flatten(0, 1).split([norm.num_features for norm, _ in norms], dim=1)
        outputs = [
            functional.leaky_relu(norm(part), slope)
            for part, (norm, slope) in zip(parts, norms, strict=True)
        ]
        return torch.cat(outputs, dim=1).view(rows.shape).transpose(1, 2)

    weight = _joined([norm.weight for norm, _ in norms])
    bias = _joined([norm.bias for norm, _ in norms])
    slopes = _joined([x.new_full((norm.num_features,), slope) for norm, slope in norms])
    y, mean, variance = CompiledNorm.apply(rows, weight, bias, slopes, norms[0][0].eps)
    first = 0
    for norm, _ in norms:
        part = slice(first, first + norm.num_features)
        update_running_statistics(norm, mean[part], variance[part], rows.shape[:2].numel())
        first = part.stop
    return y.transpose(1, 2)


def update_running_statistics(
    norm: nn.BatchNorm1d, mean: Tensor, variance: Tensor, count: int
) -> None:
    """Update the running statistics of a batch norm as `nn.BatchNorm1d` does.

    Args:
        norm: The batch norm.
        mean: Mean (C,) of a batch.
        variance: Variance (C,) of a batch, divided by the number of values.
        count: Number of values of each channel in the batch.

    """
    momentum = cast(float, norm.momentum)
    cast(Tensor, norm.running_mean).lerp_(mean, momentum)
    cast(Tensor, norm.running_var).lerp_(variance * (count / (count - 1)), momentum)
    cast(Tensor, norm.num_batches_tracked).add_(1)


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
            Features (B, T, dim) at 29.6 steps per second.

        """
        x = wave.transpose(1, 2)
        taps = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in BRANCH_BLOCKS:
                taps.append(x)

        side = [branch(tap) for branch, tap in zip(self.branches, taps, strict=True)]
        return self.projection(torch.cat([*side, x], dim=1).transpose(1, 2))
