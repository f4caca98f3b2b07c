"""Transformer layers of the generator, with attention and dropout that are fast on a CPU.

Parameters, their names and their initial values are those of `nn.TransformerEncoderLayer` and
`nn.TransformerDecoder`, with the norm after each sum. PyTorch's own layers are slow on a CPU when
dropout is on: drawing a mask takes 5.8 ns per element, products with heads of 8 channels take four
times as long as with the operands exchanged, and their softmax, which supports fully masked rows,
reads all scores two more times.
"""

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

DRAWS = 2**16
"""Dropout uses 16 random bits per element, so its probability is rounded to a multiple of 2^-16."""


class Dropout(nn.Dropout):
    """Dropout like `nn.Dropout`, with a faster random mask on a CPU.

    On CUDA it calls `nn.Dropout`. The two draw different masks from the same random seed.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Zero random elements of `x` in training, and scale the others by 1 / (1 - p)."""
        if not self.training or not self.p or x.is_cuda:
            return super().forward(x)
        return x * dropout_mask(x, self.p)


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
            memory: Memory (B, S, dim).
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
        memory: Keys and values before their projection (B, S, dim).
            If it is `x` itself, the three projections run as one product.
        bias: Bias (heads, T, S) added to the scores. If None, no bias.

    Returns:
        Output (B, T, dim).

    """
    dim = attention.embed_dim
    weight = attention.in_proj_weight
    offset = attention.in_proj_bias
    if memory is x:
        projected = functional.linear(x, weight, offset).chunk(3, dim=-1)
    else:
        query = functional.linear(x, weight[:dim], offset[:dim])
        key_and_value = functional.linear(memory, weight[dim:], offset[dim:])
        projected = query, *key_and_value.chunk(2, dim=-1)

    # (B, T, dim) to (B, heads, T, dim / heads).
    q, k, v = (part.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2) for part in projected)
    bias = None if bias is None else bias.to(q.dtype)

    probability = attention.dropout if attention.training else 0.0
    if probability and not x.is_cuda:
        y = _DropoutAttention.apply(q, k, v, bias, probability)
    else:
        y = functional.scaled_dot_product_attention(q, k, v, bias, dropout_p=probability)
    return attention.out_proj(y.transpose(1, 2).flatten(2))


class _DropoutAttention(torch.autograd.Function):
    """Attention with dropout of the attention weights, on a CPU.

    Each product is arranged so that the few channels of a head are the rows of the result. With
    the channels as columns, MKL takes four times as long.
    """

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, probability: float
    ) -> Tensor:
        """Compute attention.

        Args:
            ctx: Context for the backward pass.
            query: Queries (B, H, T, d).
            key: Keys (B, H, S, d).
            value: Values (B, H, S, d).
            bias: Bias (H, T, S) added to the scores. If None, no bias. It gets no gradient.
            probability: Probability of dropout.

        Returns:
            Output (B, H, T, d).

        """
        shape = query.shape
        scale = shape[-1] ** -0.5
        query = (query * scale).flatten(0, 1)
        key = key.flatten(0, 1)
        value = value.flatten(0, 1)

        scores = query @ key.transpose(1, 2)
        if bias is not None:
            scores.unflatten(0, shape[:2]).add_(bias)
        weights = scores.softmax(-1)
        mask = dropout_mask(weights, probability)
        y = value.transpose(1, 2) @ (weights * mask).transpose(1, 2)

        ctx.scale = scale
        ctx.save_for_backward(query, key, value, weights, mask)
        return y.transpose(1, 2).unflatten(0, shape[:2])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, ...]:
        """Compute the gradients of query, key and value; bias and probability get None."""
        query, key, value, weights, mask = ctx.saved_tensors
        batch = grad_y.shape[:2]
        grad_y = grad_y.flatten(0, 1)

        grad_value = grad_y.transpose(1, 2) @ (weights * mask)
        grad_weights = (grad_y @ value.transpose(1, 2)).mul_(mask)
        # The backward pass of softmax.
        product = grad_weights.mul_(weights)
        grad_scores = product.addcmul_(weights, product.sum(-1, keepdim=True), value=-1)
        grad_query = (key.transpose(1, 2) @ grad_scores.transpose(1, 2)).mul_(ctx.scale)
        grad_key = query.transpose(1, 2) @ grad_scores
        gradients = (
            grad.transpose(1, 2).unflatten(0, batch) for grad in (grad_query, grad_key, grad_value)
        )
        return *gradients, None, None


def dropout_mask(x: Tensor, probability: float) -> Tensor:
    """Draw a random mask for dropout.

    Args:
        x: Tensor whose shape, dtype and device the mask takes.
        probability: Probability of dropping an element.

    Returns:
        Mask to multiply with: 0 for a dropped element, 1 over the share of kept elements otherwise.

    """
    count = x.numel()
    # One random 64-bit word gives the 16 bits of four elements. `None` is the end of its range.
    words = torch.empty(-(-count // 4), dtype=torch.int64, device=x.device)
    draws = words.random_(-(2**63), None).view(torch.int16)[:count].view(x.shape)
    dropped = round(probability * DRAWS)
    mask = torch.empty(x.shape, dtype=x.dtype, device=x.device).copy_(draws)
    return mask.ge_(dropped - DRAWS // 2).mul_(DRAWS / (DRAWS - dropped))
