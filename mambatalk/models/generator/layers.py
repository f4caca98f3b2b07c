"""Small layers of the generator: a two-layer MLP and a periodic positional encoding."""

import math

import torch
from torch import Tensor, nn

from mambatalk.models.mamba.attention import Dropout

PERIOD = 64
"""Steps after which the positional encoding repeats; the length of a window."""


class MLP(nn.Sequential):
    """Linear layer, LeakyReLU with slope 0.2, linear layer: (..., dim) to (..., out).

    Args:
        dim: Channels of the input.
        hidden: Inner width.
        out: Channels of the output.

    """

    def __init__(self, dim: int, hidden: int, out: int) -> None:
        super().__init__(nn.Linear(dim, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, out))


class ChannelHead(nn.Module):
    """Linear layer to motion channels, with the mean and the deviation of the data as its scale.

    In 6D form all poses of a person are nearly alike, and channels differ a hundredfold in how much
    they vary. With this scale every channel counts alike, and a new network gives the mean pose.

    Args:
        dim_in: Channels of the input.
        dim_out: Motion channels.

    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, dim_in: int, dim_out: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim_in, dim_out)
        self.register_buffer("mean", torch.zeros(dim_out))
        self.register_buffer("deviation", torch.ones(dim_out))

    def fit(self, mean: Tensor, deviation: Tensor) -> None:
        """Set mean and deviation (dim_out,) of the channels."""
        self.mean.copy_(mean)
        self.deviation.copy_(deviation)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., dim_in) to motion channels (..., dim_out)."""
        return self.mean + self.deviation * self.linear(x)


class PositionalEncoding(nn.Module):
    """Fixed sinusoids that repeat every 64 steps, added to the input, followed by dropout.

    Args:
        dim: Channels of input and output.
        dropout: Probability of dropout.

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
        """Add the encoding of each step to (B, T, dim)."""
        return self.dropout(x + self.table[torch.arange(x.shape[1], device=x.device) % PERIOD])
