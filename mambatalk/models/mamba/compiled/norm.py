"""Autograd of the compiled batch norm."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mambatalk.models.mamba.compiled.load import loops


class CompiledNorm(torch.autograd.Function):
    """Batch norm in training, followed by a leaky ReLU with a slope for each channel."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, slope: Tensor, epsilon: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Normalise every channel over all other axes.

        Args:
            ctx: Context for the backward pass.
            x: Input (..., C), single precision.
            weight: Factors (C,).
            bias: Offsets (C,).
            slope: Slopes (C,) for negative results: 1 for no activation. They get no gradient.
            epsilon: Number added to the variance.

        Returns:
            Output (..., C), and means and variances (C,) over the other axes, without gradients.

        """
        x = x.detach().contiguous()
        y, mean, variance = torch.empty_like(x), torch.empty_like(weight), torch.empty_like(weight)
        parameters = [parameter.detach() for parameter in (weight, bias, slope)]
        loops().norm_forward(*_arrays(x, *parameters), epsilon, *_arrays(mean, variance, y))
        ctx.epsilon = epsilon
        ctx.save_for_backward(x, *parameters, mean, variance)
        ctx.mark_non_differentiable(mean, variance)
        return y, mean, variance

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_y: Tensor, _mean: Tensor, _variance: Tensor
    ) -> tuple[Tensor | None, ...]:
        """Compute the gradients of input, factors and offsets."""
        x, weight, bias, slope, mean, variance = ctx.saved_tensors
        grads = [torch.empty_like(array) for array in (x, weight, bias)]
        loops().norm_backward(
            *_arrays(x, weight, bias, slope),
            ctx.epsilon,
            *_arrays(mean, variance, grad_y.contiguous(), *grads),
        )
        return *grads, None, None


def _arrays(*tensors: Tensor) -> list[Any]:
    return [tensor.flatten().numpy() for tensor in tensors]
