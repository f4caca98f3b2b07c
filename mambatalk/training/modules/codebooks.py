"""What training changes in codebooks beside the optimizer: moving averages, and dead codes.

Everything here runs within a training step that may be recorded as a CUDA graph: no result is read
on the CPU, and no shape depends on one.
"""

import torch
from torch import Tensor, nn

from mambatalk.models.vq.quantizer import Quantizer, code_shares
from mambatalk.training.loop.distributed import (
    copy_from_first,
    gather_rows,
    mean_over_processes,
)


class CodeUsage(nn.Module):
    """Track how often each code is used, and keep the last batch.

    Args:
        codebook: The codebook to track.
        momentum: Weight of the past in the moving average of the shares, per step.

    """

    shares: Tensor
    """(size,) moving average of each code's share of all frames."""
    latents: Tensor
    """(N, C) latents of the last training batch."""
    codes: Tensor
    """(N,) their codes."""

    def __init__(self, codebook: Quantizer, *, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("shares", torch.full((codebook.size,), 1 / codebook.size))
        self.register_buffer("latents", torch.empty(0, codebook.width), persistent=False)
        self.register_buffer("codes", torch.empty(0, dtype=torch.long), persistent=False)

    def forward(self, latents: Tensor, codes: Tensor) -> None:
        """Keep the latents (B, T, C) and codes (B, T) of a training batch for the update."""
        self.latents = latents.detach().flatten(0, 1)
        self.codes = codes.flatten()


class MovingAverage(CodeUsage):
    """Move each code vector to the moving average of the latents that got its code.

    The source (`MovingAverageCodebook`) keeps moving averages of the counts N and of the sums m of
    each code. Here N is kept as a share of all frames, and the ratio m / N as the code vector. A
    code that revival has moved thus continues from its new place and, like every rare code, quickly
    follows its next latents.
    """

    @torch.no_grad()
    def update(self, codebook: Quantizer) -> None:
        """Update shares and code vectors with the last batch."""
        share = code_shares(self.codes, codebook.size)
        sums = torch.zeros_like(codebook.table).index_add(0, self.codes, self.latents)
        # One exchange between the processes for both.
        rows = torch.cat([share.unsqueeze(-1), sums / len(self.codes)], dim=-1)
        share, mean = mean_over_processes(rows).split([1, codebook.width], dim=-1)

        self.shares.mul_(self.momentum).add_(share.squeeze(-1), alpha=1 - self.momentum)
        # (past N e + new m) / (past N + new n), written as a step from e. The step is exactly 0 for
        # a code that does not occur in the batch, and never 0 / 0 for one that is long unused.
        step = (1 - self.momentum) * (mean - share * codebook.table)
        tiny = torch.finfo(step.dtype).tiny
        codebook.table.add_(step / self.shares.clamp_min(tiny).unsqueeze(-1))


class DeadCodeRevival(CodeUsage):
    """Move dead codes onto latents of the batch.

    Published training ignores dead codes; most of a codebook can then stay unused from the first
    epoch on.

    Args:
        codebook: The codebook to track.
        dead_share: A code is dead if its share of all frames is below this multiple of the uniform
            share, 1 / size.
        momentum: Weight of the past in the moving average of the shares, per step.

    """

    def __init__(self, codebook: Quantizer, *, dead_share: float, momentum: float) -> None:
        super().__init__(codebook, momentum=momentum)
        self.dead_share = dead_share

    @torch.no_grad()
    def revive(self, codebook: Quantizer) -> Tensor:
        """Update the shares with the last batch and move dead codes; return how many were moved."""
        size = len(self.shares)
        share = mean_over_processes(code_shares(self.codes, size))
        latents = gather_rows(self.latents)
        self.shares.mul_(self.momentum).add_(share, alpha=1 - self.momentum)

        # Masks instead of lists of dead codes: the length of a list would have to be read from the
        # GPU. The k-th dead code moves to the k-th of the latents in random order.
        order = torch.randperm(len(latents), device=latents.device)
        dead = self.shares < self.dead_share / size
        place = dead.cumsum(0) - 1
        # No more codes can move than there are latents to move them to.
        dead &= place < len(latents)
        moved = latents[order[place.clamp(0, len(latents) - 1)]]
        vectors = codebook.table
        vectors.copy_(torch.where(dead.unsqueeze(-1), moved, vectors))
        # Each process has drawn another order.
        copy_from_first(vectors)
        self.shares.masked_fill_(dead, 1 / size)
        return dead.sum()
