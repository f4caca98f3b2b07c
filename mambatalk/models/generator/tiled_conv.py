"""A convolution of 15 taps along long sequences, with fewer multiplications, for inference.

The sequence is cut into overlapping tiles of 32 steps. The discrete Fourier transform turns the
convolution of a tile into a product for each frequency, which mixes the channels: 47 products of
single numbers instead of 15 for each of the 18 steps that a tile adds. A complex product takes
three real ones. Transforms and products are matrix products, which a CPU runs at full speed.
Rounding errors are a quarter of those of the direct sum. Source: overlap-save (Oppenheim and
Schafer, Discrete-Time Signal Processing); three products for one (Gauss).
"""

from functools import cache
from math import pi
from typing import Final

import torch
from torch import Tensor

TAPS: Final = 15
TILE: Final = 32
"""Steps of a tile."""
ADDED: Final = TILE - TAPS + 1
"""Steps of the output that a tile adds."""
TILES_TOGETHER: Final = 128
"""Tiles of short sequences that are computed together."""


def tiled_conv(rows: Tensor, weight: Tensor, *, padding: int) -> Tensor:
    """Convolve with stride 1 and without a bias.

    Args:
        rows: Input (B, S, C) in single precision.
        weight: Weights (O, C, 15).
        padding: Zeros on both sides of the input.

    Returns:
        Output (B, S', O).

    """
    batch, length, channels = rows.shape
    channels_out = len(weight)
    steps = length + 2 * padding - TAPS + 1
    tiles = -(-steps // ADDED)
    covered = (tiles - 1) * ADDED + TILE

    to_products, of_weights, to_steps = (matrix.to(rows) for matrix in _transforms())
    factors = of_weights @ weight.permute(2, 1, 0).reshape(TAPS, channels * channels_out)
    factors = factors.view(-1, channels, channels_out)

    # Long sequences are computed one after the other, so that their tiles stay in the cache, and
    # short ones together, so that the factors are read once. All are padded in the same memory.
    together = max(1, min(batch, TILES_TOGETHER // tiles))
    padded = rows.new_zeros(together, covered, channels)
    y = rows.new_empty(batch, tiles, ADDED, channels_out)
    for sequences, out in zip(rows.split(together), y.split(together), strict=True):
        count = len(sequences)
        padded[:count, padding : padding + length] = sequences
        tile = padded[:count].unfold(1, TILE, ADDED).transpose(2, 3).flatten(0, 1)
        transformed = torch.bmm(to_products.expand(len(tile), -1, -1), tile)
        products = torch.bmm(transformed.transpose(0, 1), factors).transpose(0, 1)
        torch.bmm(to_steps.expand(len(tile), -1, -1), products, out=out.flatten(0, 1))
    return y.flatten(1, 2)[:, :steps]


@cache
def _transforms() -> tuple[Tensor, Tensor, Tensor]:
    """Return matrices from a tile (47, 32) and from taps (47, 15) to products, and back (18, 47).

    For frequency f the rows are the real part a, the imaginary part b, and a + b. With the parts c
    and d of the weights, the product has the real part ac - bd, and the imaginary part
    (a + b)(c + d) - ac - bd. At the lowest and the highest frequency there is a real part only.
    """
    steps = torch.arange(TILE, dtype=torch.float64)
    frequencies = torch.arange(TILE // 2 + 1, dtype=torch.float64)
    angle = 2 * pi / TILE * frequencies[:, None] * steps
    real, imaginary = angle.cos(), -angle.sin()
    inner = slice(1, -1)
    forward = torch.cat([real, imaginary[inner], (real + imaginary)[inner]])

    # Every inner frequency stands for its mirror image too.
    share = torch.full((len(frequencies), 1), 2 / TILE, dtype=torch.float64)
    share[0] = share[-1] = 1 / TILE
    of_real, of_imaginary = share * real, (share * imaginary)[inner]
    of_first = of_real.clone()
    of_first[inner] -= of_imaginary
    backward = torch.cat([of_first, -of_real[inner] - of_imaginary, of_imaginary])
    # The first steps of a tile wrap around, so they are left out. The taps are flipped because
    # convolutions of networks do not reverse them.
    return forward, forward[:, :TAPS].flip(1), backward.T[TAPS - 1 :]
