"""Offset, residual and activation of an audio block as one Triton kernel, for CUDA.

`TRITON_INTERPRET=1` runs it on a CPU. Source: `models/generator/folded_block.py`.
"""

from typing import Final

import torch
import triton
import triton.language as tl
from torch import Tensor

ROWS: Final = 16
CHANNELS: Final = 128
"""Steps and channels of a program."""


@triton.jit
def _offset_and_activate_kernel(
    image, offset, skip, result,
    rows, channels, image_stride, skip_stride, slope,
    HAS_SKIP: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)[None, :]
    real = (row < rows) & (channel < channels)
    y = tl.load(image + row * image_stride + channel, mask=real, other=0.0).to(tl.float32)
    y += tl.load(offset + channel, mask=channel < channels, other=0.0)
    if HAS_SKIP:
        y += tl.load(skip + row * skip_stride + channel, mask=real, other=0.0).to(tl.float32)
    y = tl.where(y > 0, y, slope * y)
    tl.store(result + row * channels + channel, y.to(result.dtype.element_ty), mask=real)


def offset_and_activate(image: Tensor, offset: Tensor, skip: Tensor | None, slope: float) -> Tensor:
    """Add offsets (C,) and a residual to images (B, C, 1, S), and apply a leaky ReLU.

    Args:
        image: Images with channels innermost; they may be some channels of larger images.
        offset: Offsets in single precision.
        skip: Residual with the shape of `image`, channels innermost. If None, no residual.
        slope: Slope of the activation for negative numbers.

    Returns:
        Images (B, C, 1, S) with the precision of `image`, channels innermost.

    """
    batch, channels, _, steps = image.shape
    result = torch.empty(
        image.shape, dtype=image.dtype, device=image.device, memory_format=torch.channels_last
    )
    rows = batch * steps
    other = image if skip is None else skip
    assert image.stride(1) == other.stride(1) == 1, "expected channels innermost"
    _offset_and_activate_kernel[(triton.cdiv(rows, ROWS), triton.cdiv(channels, CHANNELS))](
        image, offset, other, result,
        rows, channels, image.stride(3), other.stride(3), slope,
        HAS_SKIP=skip is not None, ROWS=ROWS, CHANNELS=CHANNELS,
    )  # fmt: skip
    return result
