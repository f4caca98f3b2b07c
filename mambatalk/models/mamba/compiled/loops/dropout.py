"""Dropout, and the softmax of attention scores with dropout."""

from typing import Any

import numba

from mambatalk.models.mamba.compiled.loops.arithmetic import (
    LOG2_E,
    ONE,
    ZERO,
    bits,
    compiled,
    exp2,
    random_bits,
)


def _dropout(x: Any, seed: Any, threshold: Any, scale: Any, y: Any) -> None:
    """Drop random numbers and scale the others. Forward and backward are the same function.

    Args:
        x: Input (n,), or the gradient of the output.
        seed: Seed of the random bits.
        threshold: A number is dropped if its 32 random bits are below.
        scale: Factor on the numbers that are kept.
        y: Output (n,), or the gradient of the input; overwritten.

    """
    for i in range(len(x)):
        y[i] = x[i] * scale if random_bits(seed, i) >= threshold else ZERO


def _softmax_dropout(weights: Any, seed: Any, threshold: Any, scale: Any, kept: Any) -> None:
    """Compute attention weights, and drop some of them.

    Args:
        weights: Scores (rows, S); replaced by their softmax over each row.
        seed: Seed of the random bits, and the next two arguments: see `_dropout`.
        threshold: See `_dropout`.
        scale: See `_dropout`.
        kept: Weights after dropout (rows, S); overwritten.

    """
    size = weights.shape[1]
    for r in range(len(weights)):
        row = weights[r]
        out = kept[r]
        first = bits(bits(r) * bits(size))
        highest = row[0]
        for s in range(size):
            highest = max(highest, row[s])
        total = ZERO
        for s in range(size):
            row[s] = exp2((row[s] - highest) * LOG2_E)
            total += row[s]
        factor = ONE / total
        for s in range(size):
            row[s] *= factor
            out[s] = row[s] * scale if random_bits(seed, first + bits(s)) >= threshold else ZERO


def _softmax_dropout_backward(weights: Any, kept: Any, grad: Any) -> None:
    """Compute the gradient of attention scores.

    Args:
        weights: Weights (rows, S) before dropout.
        kept: Weights (rows, S) after dropout.
        grad: Gradient (rows, S) of `kept`; replaced by the gradient of the scores.

    """
    for r in range(len(weights)):
        row = weights[r]
        out = kept[r]
        grad_r = grad[r]
        total = ZERO
        for s in range(len(row)):
            grad_r[s] *= out[s]
            total += grad_r[s]
        for s in range(len(row)):
            grad_r[s] -= row[s] * total


_vector = numba.float32[::1]
_matrix = numba.float32[:, ::1]
_draw = (numba.uint32, numba.uint32, numba.float32)

dropout = compiled(_dropout, _vector, *_draw, _vector)
softmax_dropout = compiled(_softmax_dropout, _matrix, *_draw, _matrix)
softmax_dropout_backward = compiled(_softmax_dropout_backward, _matrix, _matrix, _matrix)
