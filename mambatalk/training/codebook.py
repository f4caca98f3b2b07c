"""The code book while it is learnt: how much of it is in use, and a second life for codes that are
not.
"""

import torch
from torch import Tensor

from mambatalk.models.vq.quantizer import Quantizer

DEAD_SHARE = 0.1
"""A code is dead whose smoothed use is below this share of an even one."""
MEMORY = 0.9


class CodebookWatch:
    """Follows the use of a code book step by step and moves dead codes onto latents of the batch.

    Published training ignores dead codes; with it, most of a code book can stay unused from the
    first epoch on.
    """

    def __init__(self, quantizer: Quantizer) -> None:
        self._quantizer = quantizer
        count = quantizer.embedding.num_embeddings
        self._use = torch.full((count,), 1 / count, device=quantizer.embedding.weight.device)

    @torch.no_grad()
    def revive(self, latent: Tensor, index: Tensor) -> int:
        """Count one batch of latents (B, T, C) and codes (B, T); return how many codes were
        moved.
        """
        count = len(self._use)
        share = torch.bincount(index.flatten(), minlength=count) / index.numel()
        self._use.mul_(MEMORY).add_(share, alpha=1 - MEMORY)
        flat = latent.flatten(0, 1)
        dead = (self._use < DEAD_SHARE / count).nonzero().flatten()[: len(flat)]
        chosen = torch.randperm(len(flat), device=flat.device)[: len(dead)]
        self._quantizer.embedding.weight[dead] = flat[chosen]
        self._use[dead] = 1 / count
        return len(dead)


def usage(index: Tensor, size: int) -> dict[str, float]:
    """Share of the code book in use and perplexity of codes (any shape)."""
    share = torch.bincount(index.flatten(), minlength=size).double() / index.numel()
    entropy = -(share * share.clamp_min(1e-12).log()).sum()
    return {"codes_used": float((share > 0).double().mean()), "perplexity": float(entropy.exp())}
