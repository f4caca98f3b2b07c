"""Mamba-1 blocks and the two stacks of them that MambaTalk uses.

`MambaScan` is causal and supports streaming: `stream` takes the next steps of a sequence and the
state after the previous ones, and returns what `forward` returns for those steps of the whole
sequence. Source: Mamba, section 3.4; paper, local and global scan; published `MambaScan` and
`MambaModel`.
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
    """State of a block between two calls of `stream`."""

    conv: Tensor
    """Last inputs of the convolution (B, inner, kernel - 1)."""

    ssm: Tensor
    """State of the scan (B, inner, N)."""


class MambaBlock(nn.Module):
    """Causal Mamba-1 block.

    Args:
        dim: Channels of input and output.
        state: Size N of the scan's state per inner channel.
        kernel: Taps of the convolution.
        expand: Inner channels per channel of the input.

    """

    def __init__(self, dim: int, *, state: int = 16, kernel: int = 4, expand: int = 2) -> None:
        super().__init__()
        inner = expand * dim
        self.rank = math.ceil(dim / 16)
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
        """Initialise the step sizes log-uniformly in [0.001, 0.1]."""
        bound = self.rank**-0.5
        nn.init.uniform_(self.dt_proj.weight, -bound, bound)

        low, high = math.log(1e-3), math.log(0.1)
        log_steps = low + torch.rand(self.dt_proj.out_features) * (high - low)
        steps = torch.exp(log_steps).clamp(min=1e-4)
        with torch.no_grad():
            # The inverse of the softplus that `selective_scan` applies.
            self.dt_proj.bias.copy_(steps + (-torch.expm1(-steps)).log())

    def initial_state(self, batch: int) -> MambaState:
        """Return the state at the start of a sequence, which is zero.

        Args:
            batch: Number of sequences.

        Returns:
            State for the first call of `stream`.

        """
        inner = self.conv1d.in_channels
        kernel = self.conv1d.kernel_size[0]
        return MambaState(
            conv=self.D.new_zeros(batch, inner, kernel - 1),
            ssm=self.D.new_zeros(batch, *self.A_log.shape),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Process whole sequences (B, T, dim) to (B, T, dim)."""
        return self._run(x, None)[0]

    def stream(self, x: Tensor, state: MambaState) -> tuple[Tensor, MambaState]:
        """Process the next steps of a sequence.

        Args:
            x: The next steps (B, t, dim), t >= 1.
            state: State after the previous steps.

        Returns:
            Output (B, t, dim) and the state after these steps.

        """
        return self._run(x, state)

    def _run(self, x: Tensor, state: MambaState | None) -> tuple[Tensor, MambaState]:
        # Split in the order of memory; otherwise the gradient is copied twice.
        u, z = (part.transpose(1, 2) for part in self.in_proj(x).chunk(2, dim=-1))
        u, conv = causal_conv(u, self.conv1d.weight, self.conv1d.bias, state and state.conv)

        size = self.A_log.shape[1]
        sizes = [self.rank, size, size]
        low_rank, B, C = self.x_proj(u.transpose(1, 2)).split(sizes, dim=2)
        if backend_name(x, x.shape[1]) == "mamba_ssm":
            # That kernel needs time innermost in memory, the other scans need channels there.
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
    """Linear layer, SiLU gate, linear layer.

    Args:
        dim: Channels of input and output.
        hidden: Inner width, rounded up to a multiple of 128 as published.

    """

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        hidden = math.ceil(hidden / 128) * 128
        self.fc1 = nn.Linear(dim, 2 * hidden, bias=False)
        self.fc2 = nn.Linear(hidden, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., dim) to (..., dim), each step by itself."""
        y, gate = self.fc1(x).chunk(2, dim=-1)
        return self.fc2(y * functional.silu(gate))


class MambaLayer(nn.Module):
    """Mamba block and gated MLP, each with a norm before and a skip connection around it.

    Args:
        dim: Channels of input and output.
        hidden: Inner width of the MLP.

    """

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.mixer = MambaBlock(dim)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = GatedMLP(dim, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """Process whole sequences (B, T, dim) to (B, T, dim)."""
        return self._add_mlp(x + self.mixer(self.norm(x)))

    def stream(self, x: Tensor, state: MambaState) -> tuple[Tensor, MambaState]:
        """Process the next steps of a sequence. See `MambaBlock.stream` for the arguments."""
        y, state = self.mixer.stream(self.norm(x), state)
        return self._add_mlp(x + y), state

    def _add_mlp(self, x: Tensor) -> Tensor:
        return x + self.mlp(self.norm2(x))


class MambaScan(nn.Module):
    """Causal stack of Mamba layers, followed by a norm and a linear layer.

    Args:
        dim: Channels of the input.
        hidden: Inner width of the layers' MLPs.
        out: Channels of the output.
        layers: Number of Mamba layers.

    """

    def __init__(self, dim: int, hidden: int, out: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(MambaLayer(dim, hidden) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)
        self.out = nn.Linear(dim, out)
        _initialise(self, layers)

    def initial_state(self, batch: int) -> list[MambaState]:
        """Return the state of every layer at the start of a sequence.

        Args:
            batch: Number of sequences.

        Returns:
            State for the first call of `stream`, one entry per layer.

        """
        layers = cast(Iterable[MambaLayer], self.layers)
        return [layer.mixer.initial_state(batch) for layer in layers]

    def forward(self, x: Tensor) -> Tensor:
        """Process whole sequences (B, T, dim) to (B, T, out)."""
        for layer in self.layers:
            x = layer(x)
        return self.out(self.norm(x))

    def stream(self, x: Tensor, state: list[MambaState]) -> tuple[Tensor, list[MambaState]]:
        """Process the next steps of a sequence.

        Args:
            x: The next steps (B, t, dim), t >= 1.
            state: State of every layer after the previous steps.

        Returns:
            Output (B, t, out) and the state of every layer after these steps.

        """
        layers = cast(Iterable[MambaLayer], self.layers)
        new_state = []
        for layer, layer_state in zip(layers, state, strict=True):
            x, new_layer_state = layer.stream(x, layer_state)
            new_state.append(new_layer_state)
        return self.out(self.norm(x)), new_state


class MambaAttention(nn.Module):
    """One attention layer, Mamba layers and a norm.

    The attention covers the whole window, so the stack is not causal.

    Args:
        dim: Channels of input and output.
        hidden: Inner width of the Mamba layers' MLPs.
        layers: Number of Mamba layers.
        heads: Attention heads.
        dropout: Probability of dropout in the attention layer.

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
        """Process a whole window (B, T, dim) to (B, T, dim)."""
        x = self.attention(x)
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)


def _initialise(stack: nn.Module, layers: int) -> None:
    """Initialise a stack as published.

    Biases are zero, except those of the step sizes. The projections that end a residual branch are
    scaled down by the square root of the number of branches, so that the sum does not grow with
    the depth.
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
