"""Mamba-1 blocks and the two stacks that MambaTalk builds of them.

Source: Mamba, section 3.4; paper, local and global scan; published `MambaScan` and `MambaModel`.
`MambaScan` is causal and can stream: `stream` takes the next steps of a sequence and the state
after the former ones, and gives what the full pass gives at those steps.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from mambatalk.models.mamba.attention import EncoderLayer
from mambatalk.models.mamba.causal_conv import causal_conv
from mambatalk.models.mamba.scan import backend_name, selective_scan


class MambaState(NamedTuple):
    """What a block remembers of the past."""

    conv: Tensor
    """Last inputs of the convolution (B, inner, kernel - 1)."""
    ssm: Tensor
    """State of the scan (B, inner, N)."""


class MambaBlock(nn.Module):
    """The Mamba-1 block, (B, T, dim) to (B, T, dim), causal."""

    def __init__(self, dim: int, *, state: int = 16, kernel: int = 4, expand: int = 2) -> None:
        super().__init__()
        inner, self.rank = expand * dim, math.ceil(dim / 16)
        self.in_proj = nn.Linear(dim, 2 * inner, bias=False)
        self.conv1d = nn.Conv1d(inner, inner, kernel, groups=inner)
        self.x_proj = nn.Linear(inner, self.rank + 2 * state, bias=False)
        self.dt_proj = nn.Linear(self.rank, inner)
        self.A_log = nn.Parameter(
            torch.arange(1, state + 1, dtype=torch.float32).log().repeat(inner, 1)
        )
        self.D = nn.Parameter(torch.ones(inner))
        self.out_proj = nn.Linear(inner, dim, bias=False)
        self._initialise_steps()

    def _initialise_steps(self) -> None:
        """Spread the first step sizes log-uniformly over [0.001, 0.1]."""
        nn.init.uniform_(self.dt_proj.weight, -(self.rank**-0.5), self.rank**-0.5)
        low, high = math.log(1e-3), math.log(0.1)
        steps = torch.exp(low + torch.rand(self.dt_proj.out_features) * (high - low)).clamp(
            min=1e-4
        )
        with torch.no_grad():
            # Inverse of softplus.
            self.dt_proj.bias.copy_(steps + (-torch.expm1(-steps)).log())

    def initial_state(self, batch: int) -> MambaState:
        """The state before a sequence: zeros."""
        inner, kernel = self.conv1d.in_channels, self.conv1d.kernel_size[0]
        return MambaState(
            self.D.new_zeros(batch, inner, kernel - 1), self.D.new_zeros(batch, *self.A_log.shape)
        )

    def forward(self, x: Tensor) -> Tensor:
        """The whole sequence at once."""
        return self._run(x, None)[0]

    def stream(self, x: Tensor, state: MambaState) -> tuple[Tensor, MambaState]:
        """The next steps (B, t, dim), t >= 1, of a sequence."""
        return self._run(x, state)

    def _run(self, x: Tensor, state: MambaState | None) -> tuple[Tensor, MambaState]:
        u, z = self.in_proj(x).transpose(1, 2).chunk(2, dim=1)
        u, conv = causal_conv(u, self.conv1d.weight, self.conv1d.bias, state and state.conv)

        size = self.A_log.shape[1]
        sizes = [self.rank, size, size]
        low_rank, B, C = self.x_proj(u.transpose(1, 2)).split(sizes, dim=2)
        if backend_name(x) == "mamba_ssm":
            # The kernel wants time innermost in memory; our scan wants channels there.
            delta = self.dt_proj.weight @ low_rank.transpose(1, 2)
        else:
            delta = functional.linear(low_rank, self.dt_proj.weight).transpose(1, 2)

        y, ssm = selective_scan(
            u,
            delta,
            -self.A_log.float().exp(),
            B.transpose(1, 2),
            C.transpose(1, 2),
            D=self.D.float(),
            z=z,
            delta_bias=self.dt_proj.bias.float(),
            state=state and state.ssm,
        )
        return self.out_proj(y.transpose(1, 2)), MambaState(conv, ssm)


class GatedMLP(nn.Module):
    """Linear, gate by SiLU, linear; the inner width is rounded up to a multiple of 128. (..., dim)
    to (..., dim).
    """

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        hidden = math.ceil(hidden / 128) * 128
        self.fc1 = nn.Linear(dim, 2 * hidden, bias=False)
        self.fc2 = nn.Linear(hidden, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Apply to every step alone."""
        y, gate = self.fc1(x).chunk(2, dim=-1)
        return self.fc2(y * functional.silu(gate))


class MambaLayer(nn.Module):
    """Normalise, Mamba, add; normalise, gated MLP, add. (B, T, dim) to (B, T, dim), causal."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.mixer = MambaBlock(dim)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = GatedMLP(dim, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """The whole sequence at once."""
        return self._feed(x + self.mixer(self.norm(x)))

    def stream(self, x: Tensor, state: MambaState) -> tuple[Tensor, MambaState]:
        """The next steps of a sequence."""
        y, state = self.mixer.stream(self.norm(x), state)
        return self._feed(x + y), state

    def _feed(self, x: Tensor) -> Tensor:
        return x + self.mlp(self.norm2(x))


class MambaScan(nn.Module):
    """Mamba layers, a norm and a linear map: (B, T, dim) to (B, T, out), causal."""

    def __init__(self, dim: int, hidden: int, out: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(MambaLayer(dim, hidden) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)
        self.out = nn.Linear(dim, out)
        _initialise(self, layers)

    def initial_state(self, batch: int) -> list[MambaState]:
        """The state of every layer before a sequence."""
        return [
            layer.mixer.initial_state(batch) for layer in cast(Iterable[MambaLayer], self.layers)
        ]

    def forward(self, x: Tensor) -> Tensor:
        """The whole sequence at once."""
        for layer in self.layers:
            x = layer(x)
        return self.out(self.norm(x))

    def stream(self, x: Tensor, state: list[MambaState]) -> tuple[Tensor, list[MambaState]]:
        """The next steps (B, t, dim), t >= 1, of a sequence, and the state to go on from."""
        after = []
        for layer, before in zip(cast(Iterable[MambaLayer], self.layers), state, strict=True):
            x, now = layer.stream(x, before)
            after.append(now)
        return self.out(self.norm(x)), after


class MambaAttention(nn.Module):
    """One attention layer, Mamba layers and a norm: (B, T, dim) to (B, T, dim); the attention sees
    both ways.
    """

    def __init__(
        self, dim: int, hidden: int, layers: int = 1, *, heads: int = 8, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.attention = EncoderLayer(dim, heads, dropout)
        self.layers = nn.ModuleList(MambaLayer(dim, hidden) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)
        _initialise(self, layers)

    def forward(self, x: Tensor) -> Tensor:
        """The whole window at once."""
        x = self.attention(x)
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)


def _initialise(stack: nn.Module, layers: int) -> None:
    """Published initialisation: no biases but the step sizes', residual projections smaller the
    deeper the stack.
    """
    for name, module in stack.named_modules():
        if not isinstance(module, nn.Linear):
            continue
        if module.bias is not None and not name.endswith("dt_proj"):
            nn.init.zeros_(module.bias)
        if name.endswith(("out_proj", "fc2")):
            nn.init.kaiming_uniform_(module.weight, a=math.sqrt(5))
            with torch.no_grad():
                module.weight /= math.sqrt(2 * layers)
