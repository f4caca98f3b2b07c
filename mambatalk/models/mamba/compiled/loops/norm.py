"""Batch norm over rows, followed by a leaky ReLU."""

from typing import Any, Final

import numba
import numpy as np

from mambatalk.models.mamba.compiled.loops.arithmetic import ONE, ZERO, compiled, single

LANES: Final = 128
"""Neighbouring numbers that a loop handles at once. Rows of few channels are put together."""


@numba.njit(cache=True)
def _lanes(channels: int) -> int:
    return channels * max(1, LANES // channels)


@numba.njit(cache=True)
def _tiled(values: Any, lanes: int) -> Any:
    """Repeat values (C,) of the channels for `lanes` neighbouring numbers."""
    tiled = np.empty(lanes, single)
    for j in range(lanes):
        tiled[j] = values[j % len(values)]
    return tiled


@numba.njit(cache=True)
def _folded(sums: Any, channels: int) -> Any:
    """Add up the sums of the lanes (lanes,) that belong to the same channel."""
    folded = np.zeros(channels, np.float64)
    for j in range(len(sums)):
        folded[j % channels] += sums[j]
    return folded


def _norm_forward(
    x: Any, weight: Any, bias: Any, slope: Any, epsilon: Any, mean: Any, variance: Any, y: Any
) -> None:
    """Normalise every channel over all rows.

    Args:
        x: Input (rows * C,), rows of C channels.
        weight: Factors (C,).
        bias: Offsets (C,).
        slope: Factors (C,) on negative results: 1 for no activation.
        epsilon: Number added to the variance.
        mean: Means (C,); overwritten.
        variance: Variances (C,), divided by the number of rows; overwritten.
        y: Output (rows * C,); overwritten.

    """
    channels = len(weight)
    rows = len(x) // channels
    lanes = _lanes(channels)

    sums = np.zeros(lanes, single)
    for start in range(0, len(x), lanes):
        block = x[start : start + lanes]
        for j in range(len(block)):
            sums[j] += block[j]
    mean[:] = _folded(sums, channels) / rows
    offset = _tiled(mean, lanes)

    sums[:] = 0
    for start in range(0, len(x), lanes):
        block = x[start : start + lanes]
        for j in range(len(block)):
            difference = block[j] - offset[j]
            sums[j] += difference * difference
    variance[:] = _folded(sums, channels) / rows

    factor = _tiled(weight / np.sqrt(variance + epsilon), lanes)
    shift = _tiled(bias, lanes)
    leak = _tiled(slope, lanes)
    for start in range(0, len(x), lanes):
        block = x[start : start + lanes]
        out = y[start : start + lanes]
        for j in range(len(block)):
            value = (block[j] - offset[j]) * factor[j] + shift[j]
            out[j] = max(value, ZERO) + min(value, ZERO) * leak[j]


def _norm_backward(
    x: Any,
    weight: Any,
    bias: Any,
    slope: Any,
    epsilon: Any,
    mean: Any,
    variance: Any,
    grad_y: Any,
    grad_x: Any,
    grad_weight: Any,
    grad_bias: Any,
) -> None:
    """Compute the gradients of input, factors and offsets.

    Args:
        x: Input, and the arguments up to `variance`: see `_norm_forward`.
        weight: See `_norm_forward`.
        bias: See `_norm_forward`.
        slope: See `_norm_forward`.
        epsilon: See `_norm_forward`.
        mean: See `_norm_forward`.
        variance: See `_norm_forward`.
        grad_y: Gradient of the output (rows * C,).
        grad_x: Gradient of `x`; overwritten.
        grad_weight: Gradient of `weight`; overwritten.
        grad_bias: Gradient of `bias`; overwritten.

    """
    channels = len(weight)
    rows = len(x) // channels
    lanes = _lanes(channels)
    inverse = (ONE / np.sqrt(variance + epsilon)).astype(np.float32)
    offset = _tiled(mean, lanes)
    scale = _tiled(inverse, lanes)
    factor = _tiled(weight, lanes)
    shift = _tiled(bias, lanes)
    leak = _tiled(slope, lanes)

    sums = np.zeros(lanes, single)
    products = np.zeros(lanes, single)
    for start in range(0, len(x), lanes):
        block = x[start : start + lanes]
        grad = grad_y[start : start + lanes]
        out = grad_x[start : start + lanes]
        for j in range(len(block)):
            normal = (block[j] - offset[j]) * scale[j]
            positive = normal * factor[j] + shift[j] > ZERO
            g = grad[j] if positive else grad[j] * leak[j]
            out[j] = g
            sums[j] += g
            products[j] += g * normal
    grad_bias[:] = _folded(sums, channels)
    grad_weight[:] = _folded(products, channels)

    # The gradient of the input without its parts along the constant and along the input.
    constant = _tiled(grad_bias / rows, lanes)
    slant = _tiled(grad_weight / rows * inverse, lanes)
    factor = _tiled(weight * inverse, lanes)
    for start in range(0, len(x), lanes):
        block = x[start : start + lanes]
        out = grad_x[start : start + lanes]
        for j in range(len(block)):
            rest = out[j] - constant[j] - (block[j] - offset[j]) * slant[j]
            out[j] = rest * factor[j]


_vector = numba.float32[::1]
_inputs = (*[_vector] * 4, numba.float32, _vector, _vector)

norm_forward = compiled(_norm_forward, *_inputs, _vector)
norm_backward = compiled(_norm_backward, *_inputs, *[_vector] * 4)
