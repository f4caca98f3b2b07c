"""The codebook: nearest code by squared distance, straight-through gradient.

Source: published `Quantizer`.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Quantized:
    """Latents quantised to the nearest codes."""

    index: Tensor
    """(B, T) int64: the codes."""
    vectors: Tensor
    """(B, T, width): the code vectors. Their gradient passes to the latents unchanged."""
    loss: Tensor
    """Scalar: mean squared distance, once with gradient to the codes and once to the latents."""
    perplexity: Tensor
    """Scalar: effective number of codes in use, between 1 and the size of the codebook."""


class Quantizer(nn.Module):
    """A codebook.

    Args:
        size: Number of codes.
        width: Channels of a code vector.

    """

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(size, width)
        nn.init.uniform_(self.embedding.weight, -1 / size, 1 / size)

    def distances(self, latent: Tensor) -> Tensor:
        """Return the squared distances (B, T, size) of latents (B, T, width) to all codes."""
        codes = self.embedding.weight
        return latent.square().sum(-1, keepdim=True) + codes.square().sum(-1) - 2 * latent @ codes.T

    def nearest(self, latent: Tensor) -> Tensor:
        """Return the codes (B, T) nearest to latents (B, T, width)."""
        return self.distances(latent).argmin(-1)

    def lookup(self, index: Tensor) -> Tensor:
        """Return the code vectors (B, T, width) of codes (B, T)."""
        return self.embedding(index)

    def forward(self, latent: Tensor) -> Quantized:
        """Quantise latents (B, T, width)."""
        return self.quantized(latent, self.nearest(latent))

    def quantized(self, latent: Tensor, index: Tensor) -> Quantized:
        """Replace latents (B, T, width) by given codes (B, T), which need not be the nearest."""
        vectors = self.lookup(index)
        to_codes = functional.mse_loss(vectors, latent.detach())
        to_latents = functional.mse_loss(vectors.detach(), latent)
        # Straight-through estimator: the value of the codes, the gradient of the latents.
        passed = latent + (vectors - latent).detach()
        return Quantized(index, passed, to_codes + to_latents, self._perplexity(index))

    def _perplexity(self, index: Tensor) -> Tensor:
        share = code_shares(index, self.embedding.num_embeddings)
        return (-(share * (share + 1e-10).log()).sum()).exp()


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
