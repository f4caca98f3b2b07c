"""The code book: nearest code by squared distance, straight-through gradient. Source: published
`Quantizer`.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Quantized:
    """Latents and the codes nearest to them."""

    index: Tensor
    """(B, T) int64."""
    vectors: Tensor
    """(B, T, width): the code vectors, with the gradient of the latents."""
    loss: Tensor
    """Scalar: mean squared distance, once towards the codes and once towards the latents."""
    perplexity: Tensor
    """Scalar: effective number of codes in use, between 1 and the code book's size."""


class Quantizer(nn.Module):
    """A code book of `size` vectors of `width` channels."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(size, width)
        nn.init.uniform_(self.embedding.weight, -1 / size, 1 / size)

    def distances(self, latent: Tensor) -> Tensor:
        """Squared distances of latents (B, T, width) to all codes: (B, T, size)."""
        codes = self.embedding.weight
        return latent.square().sum(-1, keepdim=True) + codes.square().sum(-1) - 2 * latent @ codes.T

    def nearest(self, latent: Tensor) -> Tensor:
        """Codes (B, T) nearest to latents (B, T, width)."""
        return self.distances(latent).argmin(-1)

    def lookup(self, index: Tensor) -> Tensor:
        """Code vectors (B, T, width) of codes (B, T)."""
        return self.embedding(index)

    def forward(self, latent: Tensor) -> Quantized:
        """Quantise latents (B, T, width)."""
        return self.quantized(latent, self.nearest(latent))

    def quantized(self, latent: Tensor, index: Tensor) -> Quantized:
        """Put codes (B, T), nearest or not, in the place of latents (B, T, width)."""
        vectors = self.lookup(index)
        loss = functional.mse_loss(vectors, latent.detach()) + functional.mse_loss(
            vectors.detach(), latent
        )
        return Quantized(index, latent + (vectors - latent).detach(), loss, self._perplexity(index))

    def _perplexity(self, index: Tensor) -> Tensor:
        share = (
            torch.bincount(index.flatten(), minlength=self.embedding.num_embeddings) / index.numel()
        )
        return (-(share * (share + 1e-10).log()).sum()).exp()


def codebook_usage(codes: Tensor, size: int) -> dict[str, float]:
    """Return the share of the codebook in use and the perplexity of codes (any shape)."""
    shares = torch.bincount(codes.flatten(), minlength=size).double() / codes.numel()
    entropy = -(shares * shares.clamp_min(1e-12).log()).sum()
    return {"codes_used": float((shares > 0).double().mean()), "perplexity": float(entropy.exp())}
