"""Audio blocks for inference in half precision on a GPU: convolutions that include batch norms.

In evaluation a batch norm multiplies by a constant and adds one. The factor is folded into the
weights of the convolution before it. The offset, the residual and the activation are applied in one
pass over memory instead of four: for 32 windows of full size such passes take a GPU longer than the
convolutions.
"""

from collections.abc import Sequence
from typing import Final, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import fuse_conv_bn_eval

from mambatalk.models.parallel import has_kernels

SLOPE: Final = 0.01
"""Slope of the leaky ReLUs for negative numbers."""


class FoldedBlock:
    """An audio block (`AudioBlock`) with weights in half precision.

    Args:
        convs: Convolution and batch norm of the first layer, of the second one, and of the shortcut
            if it has one.
        dtype: `torch.bfloat16` or `torch.float16`.

    """

    def __init__(
        self, convs: Sequence[tuple[nn.Conv1d, nn.BatchNorm1d]], dtype: torch.dtype
    ) -> None:
        self.dtype = dtype
        first, self._first_offset = _fold(*convs[0])
        second, self._offset = _fold(*convs[1])
        self._has_shortcut = len(convs) > 2
        if self._has_shortcut:
            # The first layer and the shortcut read the same input, so they run as one convolution.
            weight, offset = _fold(*convs[2])
            first = torch.cat([first, weight])
            self._offset = self._offset + offset
        self._first = _kernels(first, dtype)
        self._second = _kernels(second, dtype)
        self._first_steps = _stride_and_padding(convs[0][0])
        self._second_steps = _stride_and_padding(convs[1][0])

    def __call__(self, image: Tensor) -> Tensor:
        """Map images (B, C, 1, S) with channels innermost as `AudioBlock` does."""
        image = image.to(self.dtype, memory_format=torch.channels_last)
        both = functional.conv2d(image, self._first, None, *self._first_steps)
        hidden = len(self._first_offset)
        skip = both[:, hidden:] if self._has_shortcut else image
        y = offset_and_activate(both[:, :hidden], self._first_offset)
        y = functional.conv2d(y, self._second, None, *self._second_steps)
        return offset_and_activate(y, self._offset, skip)


def _fold(conv: nn.Conv1d, norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """Return weights (O, C, K) and offsets (O,) of a convolution with its batch norm."""
    fused = fuse_conv_bn_eval(conv, norm)
    return fused.weight.detach(), cast(Tensor, fused.bias).detach()


def _stride_and_padding(conv: nn.Conv1d) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return stride and padding of a convolution for images (B, C, 1, S)."""
    return (1, conv.stride[0]), (0, int(conv.padding[0]))


def _kernels(weight: Tensor, dtype: torch.dtype) -> Tensor:
    return weight.unsqueeze(2).to(dtype, memory_format=torch.channels_last)


def offset_and_activate(image: Tensor, offset: Tensor, skip: Tensor | None = None) -> Tensor:
    """Add offsets (C,) and a residual to images (B, C, 1, S), and apply the leaky ReLU.

    Args:
        image: Images in half precision, channels innermost.
        offset: Offsets in single precision.
        skip: Residual with the shape of `image`. If None, no residual.

    Returns:
        Images (B, C, 1, S) with the precision and the memory layout of `image`.

    """
    if has_kernels(image):
        from mambatalk.models.generator.triton_offset import offset_and_activate as kernel

        return kernel(image, offset, skip, SLOPE)
    y = image.float() + offset[:, None, None]
    if skip is not None:
        y = y + skip
    return functional.leaky_relu(y, SLOPE).to(image.dtype, memory_format=torch.channels_last)
