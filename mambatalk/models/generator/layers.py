"""Small layers of the generator: the two-layer MLP and the periodic positional encoding."""

import math

import torch
from torch import Tensor, nn

from mambatalk.models.mamba.attention import Dropout

PERIOD = 64


class MLP(nn.Sequential):
    """Linear, LeakyReLU 0.2, linear: (..., dim) to (..., out)."""

    def __init__(self, dim: int, hidden: int, out: int) -> None:
        super().__init__(nn.Linear(dim, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, out))


class PositionalEncoding(nn.Module):
    """Adds fixed sinusoids that repeat every 64 steps, then drops out. (B, T, dim) to (B, T,
    dim).
    """

    table: Tensor

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)
        rate = torch.exp(torch.arange(0, dim, 2) * (-math.log(1e4) / dim))
        angle = torch.arange(PERIOD)[:, None] * rate
        table = torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(1)[:, :dim]
        self.register_buffer("table", table, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Add the position of each step."""
        return self.dropout(x + self.table[torch.arange(x.shape[1], device=x.device) % PERIOD])


def repeat_batch(x: Tensor, size: int) -> Tensor:
    """Repeat a batch (B, T, C) as a whole until it has `size` rows, a multiple of B."""
    return x if len(x) == size else x.repeat(size // len(x), 1, 1)
