"""Quantisers: each replaces a latent by one vector of a table, and has one code for it.

- `LearnedCodebook`: the vectors are parameters, which follow the latents by gradient. Source:
  published `Quantizer`.
- `MovingAverageCodebook`: the vectors are moving averages of the latents of each code. Source: van
  den Oord et al., Neural Discrete Representation Learning, 2017, appendix A.1.
- `ScalarQuantizer`: a few channels are rounded to fixed levels. Source: Mentzer et al., Finite
  Scalar Quantization: VQ-VAE Made Simple, 2023.
- `ProductQuantizer`: each half of the channels has a small codebook. Source: Jegou et al., Product
  Quantization for Nearest Neighbor Search, 2011.

All have the same form outside of training: a table of code vectors, and one code of it for each
frame. What reads codes or vectors does not need to know which quantiser made them.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from math import isqrt, prod
from typing import Any, ClassVar, Final, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

QuantizerKind = Literal["learned", "moving_average", "scalar", "product"]

MAX_LEVELS: Final = 8
"""Levels of a channel of `ScalarQuantizer`. The authors use 5 to 8; where all combinations have to
be exactly as many as the codes, some channels get fewer."""


@dataclass(frozen=True)
class Quantized:
    """Latents quantised to the nearest codes."""

    index: Tensor
    """(B, T) int64: the codes."""
    vectors: Tensor
    """(B, T, width): the code vectors. Their gradient passes to the latents; it is unchanged except
    by the projections of `ScalarQuantizer`."""
    loss: Tensor
    """Scalar: the loss that keeps latents and code vectors together."""
    perplexity: Tensor
    """Scalar: effective number of codes in use, between 1 and the size of the codebook."""


class Quantizer(nn.Module, ABC):
    """A table of code vectors, and how latents select them.

    Args:
        size: Number of codes.
        width: Channels of a latent and of a code vector.

    """

    kind: ClassVar[QuantizerKind]

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.size = size
        self.width = width

    @property
    @abstractmethod
    def table(self) -> Tensor:
        """The code vectors (size, width)."""

    @property
    def codebooks(self) -> tuple["Quantizer", ...]:
        """The codebooks whose vectors may be moved, by writing to their tables."""
        return (self,)

    def split(self, latent: Tensor, index: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return latents and codes of each of `codebooks`.

        Args:
            latent: Latents (B, T, width) of this quantiser.
            index: Its codes (B, T).

        """
        return [(latent, index)]

    def distances(self, latent: Tensor) -> Tensor:
        """Return the squared distances (B, T, size) of vectors (B, T, width) to all code vectors.

        A generator predicts code vectors, and its nearest code is the one of the smallest distance.
        """
        codes = self.table
        return latent.square().sum(-1, keepdim=True) + codes.square().sum(-1) - 2 * latent @ codes.T

    def nearest(self, latent: Tensor) -> Tensor:
        """Return the codes (B, T) of an encoder's latents (B, T, width)."""
        return self.distances(latent).argmin(-1)

    def lookup(self, index: Tensor) -> Tensor:
        """Return the code vectors (B, T, width) of codes (B, T)."""
        return functional.embedding(index, self.table)

    def forward(self, latent: Tensor) -> Quantized:
        """Quantise latents (B, T, width)."""
        return self.quantized(latent, self.nearest(latent))

    def quantized(self, latent: Tensor, index: Tensor) -> Quantized:
        """Replace latents (B, T, width) by given codes (B, T), which need not be the nearest."""
        vectors = self.lookup(index)
        loss = self._loss(latent, vectors)
        # Straight-through estimator: the value of the codes, the gradient of the latents.
        passed = latent + (vectors - latent).detach()
        return Quantized(index, passed, loss, self._perplexity(index))

    def _loss(self, latent: Tensor, vectors: Tensor) -> Tensor:
        """Return the mean squared distance, once with gradient to the codes, once to latents."""
        to_codes = functional.mse_loss(vectors, latent.detach())
        return to_codes + functional.mse_loss(vectors.detach(), latent)

    def _perplexity(self, index: Tensor) -> Tensor:
        share = code_shares(index, self.size)
        return (-(share * (share + 1e-10).log()).sum()).exp()


class LearnedCodebook(Quantizer):
    """A codebook of parameters; a latent gets the nearest code by squared distance."""

    kind = "learned"

    def __init__(self, size: int, width: int) -> None:
        super().__init__(size, width)
        self.embedding = nn.Embedding(size, width)
        nn.init.uniform_(self.embedding.weight, -1 / size, 1 / size)

    @property
    def table(self) -> Tensor:
        """The code vectors (size, width)."""
        return self.embedding.weight


class MovingAverageCodebook(Quantizer):
    """A codebook that the training moves to the mean latent of each code, without a gradient.

    See `training.modules.codebooks.MovingAverage`. The loss draws latents to their codes only.
    """

    kind = "moving_average"
    vectors: Tensor
    """(size, width): the code vectors."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__(size, width)
        self.register_buffer("vectors", torch.empty(size, width))
        nn.init.uniform_(self.vectors, -1 / size, 1 / size)

    @property
    def table(self) -> Tensor:
        """The code vectors (size, width)."""
        return self.vectors

    def _loss(self, latent: Tensor, vectors: Tensor) -> Tensor:
        return functional.mse_loss(vectors, latent)


class ScalarQuantizer(Quantizer):
    """A linear map to a few channels, each rounded to fixed levels, and a linear map back.

    A code is the combination of the levels of all channels, the last channel varying fastest. No
    code dies and nothing keeps latents near codes, so that there is no loss: both maps and the
    encoder learn from the reconstruction, as if nothing were rounded.

    Published levels are shifted by half a step where their number is even, so that 0 is a level.
    Here all levels are symmetric; the bias of the map has the same effect.
    """

    kind = "scalar"
    levels: Tensor
    """(C,) int64: levels of each channel."""
    strides: Tensor
    """(C,) int64: difference in the code from one level of a channel to the next."""
    grid: Tensor
    """(size, C): value of each channel for each code, from -1 to 1."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__(size, width)
        levels = scalar_levels(size)
        self.down = nn.Linear(width, len(levels))
        self.up = nn.Linear(len(levels), width)
        strides = [prod(levels[channel + 1 :]) for channel in range(len(levels))]
        self.register_buffer("levels", torch.tensor(levels), persistent=False)
        self.register_buffer("strides", torch.tensor(strides), persistent=False)
        chosen = torch.arange(size)[:, None] // self.strides % self.levels
        self.register_buffer("grid", 2 * chosen / (self.levels - 1) - 1, persistent=False)

    @property
    def table(self) -> Tensor:
        """The code vectors (size, width)."""
        return self.up(self.grid)

    @property
    def codebooks(self) -> tuple[Quantizer, ...]:
        """Empty: the levels are fixed."""
        return ()

    def split(self, latent: Tensor, index: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return an empty list."""
        return []

    def nearest(self, latent: Tensor) -> Tensor:
        """Return the codes (B, T) of an encoder's latents (B, T, width), by rounding."""
        level = ((self._bounded(latent) + 1) / 2 * (self.levels - 1)).round().long()
        # NaN has no level. It reaches the loss through the vector; the code only has to be valid.
        return (level * self.strides).sum(-1).clamp(0, self.size - 1)

    def quantized(self, latent: Tensor, index: Tensor) -> Quantized:
        """Replace latents (B, T, width) by given codes (B, T), which need not be the nearest."""
        bounded = self._bounded(latent)
        rounded = functional.embedding(index, self.grid)
        vectors = self.up(bounded + (rounded - bounded).detach())
        return Quantized(index, vectors, latent.new_zeros(()), self._perplexity(index))

    def _bounded(self, latent: Tensor) -> Tensor:
        """Return the values (B, T, C) before rounding, from -1 to 1."""
        return self.down(latent).tanh()


class ProductQuantizer(Quantizer):
    """A small learned codebook for each half of the channels; a code is a combination of both."""

    kind = "product"

    def __init__(self, size: int, width: int) -> None:
        super().__init__(size, width)
        if width % 2:
            raise ValueError(
                f"expected an even number of channels for two codebooks, found {width}"
            )
        first, second = product_sizes(size)
        self.first = LearnedCodebook(first, width // 2)
        self.second = LearnedCodebook(second, width // 2)

    @property
    def table(self) -> Tensor:
        """The code vectors (size, width) of all combinations, the second code varying fastest."""
        first = self.first.table[:, None].expand(-1, self.second.size, -1)
        second = self.second.table.expand(self.first.size, -1, -1)
        return torch.cat([first, second], dim=-1).flatten(0, 1)

    @property
    def codebooks(self) -> tuple[Quantizer, ...]:
        """The two small codebooks."""
        return (self.first, self.second)

    def split(self, latent: Tensor, index: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return halves of latents (B, T, width) and small codes of codes (B, T)."""
        first, second = latent.chunk(2, dim=-1)
        return [(first, index // self.second.size), (second, index % self.second.size)]

    def nearest(self, latent: Tensor) -> Tensor:
        """Return the codes (B, T) of an encoder's latents (B, T, width)."""
        first, second = latent.chunk(2, dim=-1)
        return self.first.nearest(first) * self.second.size + self.second.nearest(second)


_CLASSES: Final[dict[str, Any]] = {
    each.kind: each
    for each in (LearnedCodebook, MovingAverageCodebook, ScalarQuantizer, ProductQuantizer)
}


def build_quantizer(kind: QuantizerKind, size: int, width: int) -> Quantizer:
    """Build a new quantiser.

    Args:
        kind: Which one.
        size: Number of codes.
        width: Channels of a latent and of a code vector.

    Raises:
        ValueError: No quantiser of this kind has this size or this width.

    """
    if kind not in _CLASSES:
        raise ValueError(f"expected a quantiser of {', '.join(_CLASSES)}, found {kind!r}")
    quantizer: Quantizer = _CLASSES[kind](size, width)
    return quantizer


def scalar_levels(size: int) -> tuple[int, ...]:
    """Return the levels of each channel, whose product is the number of codes.

    The fewest channels with at most `MAX_LEVELS` levels, and of those with equally many channels
    the most even ones: 8, 4, 4 for 128 codes, 8, 8, 4 for 256.

    Raises:
        ValueError: The size has a prime factor above `MAX_LEVELS`, or is below 2.

    """
    found = list(_factors(size, MAX_LEVELS))
    if size < 2 or not found:
        raise ValueError(
            f"expected a product of numbers from 2 to {MAX_LEVELS}, the levels of the channels, "
            f"found {size}"
        )
    return min(found, key=lambda levels: (len(levels), sum(levels)))


def _factors(size: int, largest: int) -> Iterator[tuple[int, ...]]:
    """Iterate over descending factors of a number, from 2 to `largest`."""
    if size == 1:
        yield ()
    for factor in range(min(size, largest), 1, -1):
        if size % factor == 0:
            for rest in _factors(size // factor, factor):
                yield (factor, *rest)


def product_sizes(size: int) -> tuple[int, int]:
    """Return the sizes of the two small codebooks: the most even factors, the larger one first.

    Raises:
        ValueError: The size is below 2 or a prime number.

    """
    second = next((factor for factor in range(isqrt(size), 1, -1) if size % factor == 0), None)
    if second is None:
        raise ValueError(f"expected a product of two numbers, the sizes of codebooks, found {size}")
    return size // second, second


def code_shares(codes: Tensor, size: int) -> Tensor:
    """Return the share (size,) of each code among codes (any shape)."""
    # `torch.bincount` would wait for the GPU, to learn the largest code.
    codes = codes.flatten()
    counts = torch.zeros(size, dtype=codes.dtype, device=codes.device)
    return counts.scatter_add(0, codes, torch.ones_like(codes)) / codes.numel()


def codebook_usage(codes: Tensor, size: int) -> dict[str, float]:
    """Return the share of the codebook in use and the perplexity of codes (any shape)."""
    shares = torch.bincount(codes.flatten(), minlength=size).double() / codes.numel()
    entropy = -(shares * shares.clamp_min(1e-12).log()).sum()
    return {"codes_used": float((shares > 0).double().mean()), "perplexity": float(entropy.exp())}
