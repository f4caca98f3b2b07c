"""Autograd of the compiled dropout, and of attention with dropout of its weights."""

from typing import Any, Final

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mambatalk.models.mamba.compiled.load import loops

RANGE: Final = 2**32
"""Dropout compares 32 random bits per number with a threshold."""


class CompiledDropout(torch.autograd.Function):
    """Zero random numbers, and scale the others by 1 / (1 - probability)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, probability: float) -> Tensor:
        """Drop numbers of a tensor of any shape.

        Args:
            ctx: Context for the backward pass.
            x: Input, single precision.
            probability: Probability of dropping a number.

        Returns:
            Output with the shape of `x`.

        """
        ctx.draw = _draw(probability)
        return _drop(x, ctx.draw)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor, None]:
        """Drop the same numbers of the gradient."""
        return _drop(grad_y, ctx.draw), None


class CompiledAttention(torch.autograd.Function):
    """Attention with dropout of the attention weights.

    Each product is arranged so that the few channels of a head are the rows of the result. With
    the channels as columns, MKL takes four times as long.
    """

    @staticmethod
    def forward(
        ctx: Any, heads: int, probability: float, bias: Tensor | None, *projected: Tensor
    ) -> Tensor:
        """Compute attention.

        Args:
            ctx: Context for the backward pass.
            heads: Number H of heads.
            probability: Probability of dropout.
            bias: Bias (H, T, S) added to the scores. If None, no bias. It gets no gradient.
            projected: Queries, keys and values, (B, T, H d) or (B, S, H d) in single precision.
                Successive ones may be packed side by side in one tensor (B, T, n H d).

        Returns:
            Output (B, T, H d).

        """
        batch, steps = projected[0].shape[:2]
        width = sum(packed.shape[-1] for packed in projected) // 3
        query, key, value = (
            part for packed in projected for part in _by_head(packed, heads, width // heads)
        )
        scale = (width // heads) ** -0.5
        query = query * scale

        weights = query @ key.transpose(1, 2)
        if bias is not None:
            weights.unflatten(0, (batch, heads)).add_(bias)
        kept = torch.empty_like(weights)
        loops().softmax_dropout(_rows(weights), *_draw(probability), _rows(kept))
        y = value.transpose(1, 2) @ kept.transpose(1, 2)

        ctx.scale = scale
        ctx.shapes = [packed.shape for packed in projected]
        ctx.save_for_backward(query, key, value, weights, kept)
        return y.unflatten(0, (batch, heads)).permute(0, 3, 1, 2).reshape(batch, steps, width)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, ...]:
        """Compute the gradients of queries, keys and values; the others get None."""
        query, key, value, weights, kept = ctx.saved_tensors
        heads = len(query) // len(grad_y)
        (grad_output,) = _by_head(grad_y, heads, query.shape[-1])

        grad_value = grad_output.transpose(1, 2) @ kept
        grad_scores = grad_output @ value.transpose(1, 2)
        loops().softmax_dropout_backward(_rows(weights), _rows(kept), _rows(grad_scores))
        grad_query = (key.transpose(1, 2) @ grad_scores.transpose(1, 2)).mul_(ctx.scale)
        grad_key = query.transpose(1, 2) @ grad_scores

        # Each (B H, d, T) goes to its place in the gradient (B, T, n H d) of the packed tensors.
        parts = iter((grad_query, grad_key, grad_value))
        grads = []
        for shape in ctx.shapes:
            grad = grad_y.new_empty(shape)
            for place in grad.split(grad_y.shape[-1], dim=-1):
                part = next(parts).unflatten(0, (-1, heads)).permute(0, 3, 1, 2)
                place.unflatten(-1, (heads, -1)).copy_(part)
            grads.append(grad)
        return None, None, None, *grads


def _by_head(packed: Tensor, heads: int, size: int) -> Tensor:
    """Copy (B, T, n H d) to n arrays (B H, T, d)."""
    parts = packed.detach().unflatten(-1, (-1, heads, size))
    return parts.permute(2, 0, 3, 1, 4).contiguous().flatten(1, 2)


def _draw(probability: float) -> tuple[int, int, float]:
    """Return a seed from PyTorch's generator, the threshold, and the factor of kept numbers."""
    seed = int(torch.randint(RANGE, ()))
    threshold = min(round(probability * RANGE), RANGE - 1)
    return seed, threshold, RANGE / (RANGE - threshold)


def _drop(x: Tensor, draw: tuple[int, int, float]) -> Tensor:
    x = x.detach().contiguous()
    y = torch.empty_like(x)
    loops().dropout(x.flatten().numpy(), *draw, y.flatten().numpy())
    return y


def _rows(x: Tensor) -> Any:
    return x.flatten(0, 1).numpy()
