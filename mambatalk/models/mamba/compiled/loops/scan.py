"""The selective scan and the causal convolution of a Mamba block."""

from typing import Any, Final

import numba
import numpy as np

from mambatalk.models.mamba.compiled.loops.arithmetic import (
    LOG2_E,
    ONE,
    ZERO,
    compiled,
    exp2,
    sigmoid,
    single,
    softplus,
)

TILE: Final = 128
"""Channels that the scan's backward pass handles at once. Their states (T, N, TILE) take 512 KiB at
64 steps and 16 states, which fits in a cache of the second level."""


def _scan_forward(
    u: Any,
    delta: Any,
    A: Any,
    B: Any,
    C: Any,
    D: Any,
    bias: Any,
    z: Any,
    state: Any,
    ungated: Any,
    y: Any,
) -> None:
    """Run the scan forward in time.

    Args:
        u: Input (B, T, E).
        delta: Step sizes before bias and softplus (B, T, E).
        A: Decay rates (N, E), negative.
        B: Input weights (B, T, N).
        C: Output weights (B, T, N).
        D: Weights (E,) of the input in the output.
        bias: Bias (E,) of the step sizes.
        z: Gate (B, T, E) before SiLU, or (0, 0, 0) for no gate.
        state: State (B, N, E) before the first step; replaced by the state after the last step.
        ungated: Output before the gate (B, T, E); overwritten.
        y: Output (B, T, E); overwritten. Without a gate it may be `ungated`.

    """
    batch, steps, channels = u.shape
    states = len(A)
    rate = A * LOG2_E
    step = np.empty(channels, single)
    drive = np.empty(channels, single)
    for b in range(batch):
        h = state[b]
        for t in range(steps):
            out = ungated[b, t]
            for e in range(channels):
                step[e] = softplus(delta[b, t, e] + bias[e])
                drive[e] = step[e] * u[b, t, e]
                out[e] = D[e] * u[b, t, e]
            for n in range(states):
                weight_in = B[b, t, n]
                weight_out = C[b, t, n]
                for e in range(channels):
                    value = exp2(step[e] * rate[n, e]) * h[n, e] + drive[e] * weight_in
                    h[n, e] = value
                    out[e] += weight_out * value
            if z.size:
                z_t = z[b, t]
                y_t = y[b, t]
                for e in range(channels):
                    y_t[e] = out[e] * (z_t[e] * sigmoid(z_t[e]))


def _scan_backward(
    u: Any,
    delta: Any,
    A: Any,
    B: Any,
    C: Any,
    D: Any,
    bias: Any,
    z: Any,
    state: Any,
    ungated: Any,
    grad_y: Any,
    grad_u: Any,
    grad_delta: Any,
    grad_A: Any,
    grad_B: Any,
    grad_C: Any,
    grad_D: Any,
    grad_bias: Any,
    grad_z: Any,
    grad_state: Any,
) -> None:
    """Run the scan backward in time.

    The states are computed again, tile by tile: reading them from memory would take longer.

    Args:
        u: Input, and the following arguments up to `state`: see `_scan_forward`. `state` is not
            changed.
        delta: See `_scan_forward`.
        A: See `_scan_forward`.
        B: See `_scan_forward`.
        C: See `_scan_forward`.
        D: See `_scan_forward`.
        bias: See `_scan_forward`.
        z: See `_scan_forward`.
        state: See `_scan_forward`.
        ungated: Output before the gate (B, T, E).
        grad_y: Gradient of the output (B, T, E).
        grad_u: Gradient of `u`; overwritten.
        grad_delta: Gradient of `delta`; overwritten.
        grad_A: Gradient of `A`; zero before the call.
        grad_B: Gradient of `B`; zero before the call.
        grad_C: Gradient of `C`; zero before the call.
        grad_D: Gradient of `D`; zero before the call.
        grad_bias: Gradient of `bias`; zero before the call.
        grad_z: Gradient of `z`; overwritten.
        grad_state: Gradient of the state after the last step (B, N, E); replaced by the gradient of
            the state before the first step.

    """
    batch, steps, channels = u.shape
    states = len(A)
    rate = A * LOG2_E
    history = np.empty((steps + 1, states, TILE), single)
    step = np.empty((steps, TILE), single)
    grad = np.empty((states, TILE), single)
    drive = np.empty(TILE, single)
    grad_out = np.empty(TILE, single)
    grad_step = np.empty(TILE, single)
    grad_drive = np.empty(TILE, single)

    for b in range(batch):
        for first in range(0, channels, TILE):
            last = min(first + TILE, channels)
            width = last - first

            # Forward again, for the states of all steps.
            for n in range(states):
                history[0, n, :width] = state[b, n, first:last]
                grad[n, :width] = grad_state[b, n, first:last]
            for t in range(steps):
                u_t = u[b, t, first:last]
                delta_t = delta[b, t, first:last]
                bias_tile = bias[first:last]
                step_t = step[t]
                for e in range(width):
                    step_t[e] = softplus(delta_t[e] + bias_tile[e])
                    drive[e] = step_t[e] * u_t[e]
                for n in range(states):
                    weight_in = B[b, t, n]
                    rate_n = rate[n, first:last]
                    before = history[t, n]
                    after = history[t + 1, n]
                    for e in range(width):
                        after[e] = exp2(step_t[e] * rate_n[e]) * before[e] + drive[e] * weight_in

            for t in range(steps - 1, -1, -1):
                u_t = u[b, t, first:last]
                delta_t = delta[b, t, first:last]
                bias_tile = bias[first:last]
                D_tile = D[first:last]
                step_t = step[t]
                grad_out[:width] = grad_y[b, t, first:last]
                if z.size:
                    z_t = z[b, t, first:last]
                    ungated_t = ungated[b, t, first:last]
                    grad_z_t = grad_z[b, t, first:last]
                    for e in range(width):
                        share = sigmoid(z_t[e])
                        slope = share * (ONE + z_t[e] * (ONE - share))
                        grad_z_t[e] = grad_out[e] * ungated_t[e] * slope
                        grad_out[e] *= z_t[e] * share
                for e in range(width):
                    drive[e] = step_t[e] * u_t[e]
                    grad_step[e] = ZERO
                    grad_drive[e] = ZERO

                for n in range(states):
                    weight_in = B[b, t, n]
                    weight_out = C[b, t, n]
                    before = history[t, n]
                    after = history[t + 1, n]
                    rate_n = rate[n, first:last]
                    grad_n = grad[n]
                    A_n = A[n, first:last]
                    grad_A_n = grad_A[n, first:last]
                    sum_in = ZERO
                    sum_out = ZERO
                    for e in range(width):
                        sum_out += grad_out[e] * after[e]
                        # Gradient of the state after the step, then before it.
                        g = grad_n[e] + grad_out[e] * weight_out
                        grad_drive[e] += g * weight_in
                        sum_in += g * drive[e]
                        g *= exp2(step_t[e] * rate_n[e])
                        grad_n[e] = g
                        # Gradient of delta A, the exponent.
                        g *= before[e]
                        grad_step[e] += g * A_n[e]
                        grad_A_n[e] += g * step_t[e]
                    grad_B[b, t, n] += sum_in
                    grad_C[b, t, n] += sum_out

                grad_u_t = grad_u[b, t, first:last]
                grad_delta_t = grad_delta[b, t, first:last]
                grad_D_tile = grad_D[first:last]
                grad_bias_tile = grad_bias[first:last]
                for e in range(width):
                    grad_u_t[e] = grad_drive[e] * step_t[e] + grad_out[e] * D_tile[e]
                    slope = sigmoid(delta_t[e] + bias_tile[e])
                    before_bias = (grad_step[e] + grad_drive[e] * u_t[e]) * slope
                    grad_delta_t[e] = before_bias
                    grad_bias_tile[e] += before_bias
                    grad_D_tile[e] += grad_out[e] * u_t[e]

            grad_state[b, :, first:last] = grad[:, :width]


def _conv_forward(x: Any, taps: Any, bias: Any, y: Any) -> None:
    """Run the causal depthwise convolution and SiLU.

    Args:
        x: Past and input (B, T + K - 1, E).
        taps: Taps (K, E), oldest first.
        bias: Bias (E,).
        y: Output (B, T, E); overwritten.

    """
    batch, steps, channels = y.shape
    for b in range(batch):
        for t in range(steps):
            out = y[b, t]
            out[:] = bias
            for k in range(len(taps)):
                x_k = x[b, t + k]
                taps_k = taps[k]
                for e in range(channels):
                    out[e] += taps_k[e] * x_k[e]
            for e in range(channels):
                out[e] *= sigmoid(out[e])


def _conv_backward(
    x: Any, taps: Any, bias: Any, grad_y: Any, grad_x: Any, grad_taps: Any, grad_bias: Any
) -> None:
    """Run the convolution and SiLU backward.

    Args:
        x: Past and input, and the next two arguments: see `_conv_forward`.
        taps: See `_conv_forward`.
        bias: See `_conv_forward`.
        grad_y: Gradient of the output (B, T, E).
        grad_x: Gradient of `x`; zero before the call.
        grad_taps: Gradient of `taps`; zero before the call.
        grad_bias: Gradient of `bias`; zero before the call.

    """
    batch, steps, channels = grad_y.shape
    grad = np.empty(channels, single)
    for b in range(batch):
        for t in range(steps):
            grad_y_t = grad_y[b, t]
            grad[:] = bias
            for k in range(len(taps)):
                x_k = x[b, t + k]
                taps_k = taps[k]
                for e in range(channels):
                    grad[e] += taps_k[e] * x_k[e]
            for e in range(channels):
                share = sigmoid(grad[e])
                grad[e] = grad_y_t[e] * share * (ONE + grad[e] * (ONE - share))
                grad_bias[e] += grad[e]
            for k in range(len(taps)):
                x_k = x[b, t + k]
                taps_k = taps[k]
                grad_x_k = grad_x[b, t + k]
                grad_taps_k = grad_taps[k]
                for e in range(channels):
                    grad_x_k[e] += grad[e] * taps_k[e]
                    grad_taps_k[e] += grad[e] * x_k[e]


_rows = numba.float32[:, :, ::1]
_matrix = numba.float32[:, ::1]
_vector = numba.float32[::1]
_inputs = (_rows, _rows, _matrix, _rows, _rows, _vector, _vector, _rows, _rows)


scan_forward = compiled(_scan_forward, *_inputs, _rows, _rows)
scan_backward = compiled(
    _scan_backward, *_inputs, *[_rows] * 4, _matrix, _rows, _rows, _vector, _vector, _rows, _rows
)
conv_forward = compiled(_conv_forward, _rows, _matrix, _vector, _rows)
conv_backward = compiled(_conv_backward, _rows, _matrix, _vector, _rows, _rows, _matrix, _vector)
