"""Transformer layers of the generator, with attention and dropout that are fast on a CPU.

Parameters, their names and their initial values are those of `nn.TransformerEncoderLayer` and
`nn.TransformerDecoder`, with the norm after each sum. PyTorch's own layers are slow on a CPU when
dropout is on: drawing a mask takes 5.8 ns per element, products with heads of 8 channels take four
times as long as with the operands exchanged, and their softmax, which supports fully masked rows,
reads all scores two more times.
"""

from copy import deepcopy

from torch import Tensor, nn
from torch.nn import functional

from mambatalk.models.mamba.compiled.dropout import CompiledAttention, CompiledDropout
from mambatalk.models.mamba.compiled.load import is_compiled


class Dropout(nn.Dropout):
    """Dropout like `nn.Dropout`, in compiled loops on a CPU.

    From the same seed the loops draw other random numbers than PyTorch does.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Zero random elements of `x` in training, and scale the others by 1 / (1 - p)."""
        if self.training and self.p and is_compiled(x):
            return CompiledDropout.apply(x, self.p)
        return super().forward(x)


class EncoderLayer(nn.Module):
    """Self-attention and a feed-forward network of the same width.

    Args:
        dim: Channels of input, output and the feed-forward network.
        heads: Attention heads.
        dropout: Probability of dropout, on the attention weights too.

    """

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(dim, heads, dropout, batch_first=True)
        self.linear1 = nn.Linear(dim, dim)
        self.linear2 = nn.Linear(dim, dim)
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Apply self-attention over the whole window, then the feed-forward network.

        Args:
            x: Window (B, T, dim).

        Returns:
            Output (B, T, dim).

        """
        x = self.norm1(x + self.dropout(attend(self.self_attn, x, x)))
        inner = self.dropout(functional.relu(self.linear1(x)))
        return self.norm2(x + self.dropout(self.linear2(inner)))


class DecoderLayer(nn.Module):
    """Self-attention, attention to a memory, and a feed-forward network of the same width.

    Args:
        dim: Channels of input, memory, output and the feed-forward network.
        heads: Attention heads.
        dropout: Probability of dropout, on the attention weights too.

    """

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(dim, heads, dropout, batch_first=True)
        self.multihead_attn = nn.MultiheadAttention(dim, heads, dropout, batch_first=True)
        self.linear1 = nn.Linear(dim, dim)
        self.linear2 = nn.Linear(dim, dim)
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)
        self.norm3 = nn.LayerNorm(dim)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, memory: Tensor, bias: Tensor | None = None) -> Tensor:
        """Apply self-attention, attention to the memory, then the feed-forward network.

        Args:
            x: Window (B, T, dim).
            memory: Memory (B, S, dim), or (B / n, S, dim) for n passes over the same windows.
            bias: Bias (heads, T, S) added to the scores of the attention to the memory. If None,
                no bias.

        Returns:
            Output (B, T, dim).

        """
        x = self.norm1(x + self.dropout(attend(self.self_attn, x, x)))
        x = self.norm2(x + self.dropout(attend(self.multihead_attn, x, memory, bias)))
        inner = self.dropout(functional.relu(self.linear1(x)))
        return self.norm3(x + self.dropout(self.linear2(inner)))


class Decoder(nn.Module):
    """Decoder layers that start from the same weights, as in `nn.TransformerDecoder`.

    Args:
        dim: Channels of input, memory and output.
        heads: Attention heads.
        dropout: Probability of dropout.
        layers: Number of layers.

    """

    def __init__(self, dim: int, heads: int, dropout: float, layers: int) -> None:
        super().__init__()
        first = DecoderLayer(dim, heads, dropout)
        self.layers = nn.ModuleList(deepcopy(first) for _ in range(layers))

    def forward(self, x: Tensor, memory: Tensor, bias: Tensor | None = None) -> Tensor:
        """Apply the layers in order. See `DecoderLayer.forward` for the arguments."""
        for layer in self.layers:
            x = layer(x, memory, bias)
        return x


def attend(
    attention: nn.MultiheadAttention, x: Tensor, memory: Tensor, bias: Tensor | None = None
) -> Tensor:
    """Run multi-head attention from a window to a memory.

    Args:
        attention: Module that holds the parameters, the number of heads and the dropout.
        x: Queries before their projection (B, T, dim).
        memory: Keys and values before their projection (B, S, dim), or (B / n, S, dim) if the batch
            holds n passes over the same windows. If it is `x` itself, the three projections run as
            one product.
        bias: Bias (heads, T, S) added to the scores. If None, no bias.

    Returns:
        Output (B, T, dim).

    """
    dim = attention.embed_dim
    heads = attention.num_heads
    weight = attention.in_proj_weight
    offset = attention.in_proj_bias
    if memory is x:
        projected = [functional.linear(x, weight, offset)]
    else:
        query = functional.linear(x, weight[:dim], offset[:dim])
        key_and_value = functional.linear(memory, weight[dim:], offset[dim:])
        projected = [query, repeat_batch(key_and_value, len(x))]
    # Under autocast the projections have half precision, but `x` does not.
    bias = None if bias is None else bias.to(projected[0].dtype)

    probability = attention.dropout if attention.training else 0.0
    if probability and is_compiled(projected[0]):
        y = CompiledAttention.apply(heads, probability, bias, *projected)
    else:
        parts = [part for packed in projected for part in packed.split(dim, dim=-1)]
        q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in parts)
        y = functional.scaled_dot_product_attention(q, k, v, bias, dropout_p=probability)
        y = y.transpose(1, 2).flatten(2)
    return attention.out_proj(y)


def repeat_batch(x: Tensor, size: int) -> Tensor:
    """Repeat a batch as a whole.

    Args:
        x: Batch (B, T, C).
        size: Number of rows of the result, a multiple of B.

    Returns:
        Batch (size, T, C).

    """
    return x if len(x) == size else x.repeat(size // len(x), 1, 1)
