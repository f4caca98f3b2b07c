"""The selective scan: exact, differentiable, streamable, deterministic, and safe at large steps."""

import logging

import pytest
import torch

from mambatalk.bench.scan import SCANS, loop_scan
from mambatalk.models.mamba import recurrence, scan
from mambatalk.models.mamba.block import MambaBlock, MambaScan
from mambatalk.models.mamba.recurrence import Recurrence
from mambatalk.models.mamba.scan import selective_scan


def _inputs(batch=2, channels=6, state=4, steps=11, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=dtype)

    return {
        "u": draw(batch, channels, steps),
        "delta": draw(batch, channels, steps),
        "A": -draw(channels, state).exp(),
        "B": draw(batch, state, steps),
        "C": draw(batch, state, steps),
        "D": draw(channels),
        "z": draw(batch, channels, steps),
        "delta_bias": draw(channels),
    }


def _stepwise(u, delta, A, B, C, D, z, delta_bias, state=None):
    """The definition, one step at a time."""
    delta = torch.nn.functional.softplus(delta + delta_bias[:, None])
    state = u.new_zeros(*u.shape[:2], A.shape[1]) if state is None else state
    outputs = []
    for t in range(u.shape[-1]):
        state = (delta[..., t, None] * A).exp() * state + (delta[..., t] * u[..., t])[
            ..., None
        ] * B[:, None, :, t]
        y = (state * C[:, None, :, t]).sum(-1) + D * u[..., t]
        outputs.append(y * torch.nn.functional.silu(z[..., t]))
    return torch.stack(outputs, dim=-1), state


@pytest.mark.parametrize("steps", [1, 2, 11, 64])
@pytest.mark.parametrize("numbers", [1, 200, 2**19])
def test_scan_is_the_recurrence_whatever_the_block_size(monkeypatch, steps, numbers):
    monkeypatch.setattr(recurrence, "BLOCK_NUMBERS", numbers)
    inputs = _inputs(steps=steps)
    for ours, theirs in zip(selective_scan(**inputs), _stepwise(**inputs), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("numbers", [1, 130, 2**19])
def test_gradients_of_all_inputs_are_right(monkeypatch, with_state, numbers):
    monkeypatch.setattr(recurrence, "BLOCK_NUMBERS", numbers)
    inputs = _inputs(channels=3, state=2, steps=7)
    state = torch.randn(2, 3, 2, dtype=torch.float64, requires_grad=True) if with_state else None
    leaves = [inputs[name].requires_grad_() for name in ("u", "delta", "A", "B", "C")]
    leaves[1] = leaves[1].detach().exp().requires_grad_()
    assert torch.autograd.gradcheck(Recurrence.apply, (*leaves, state))


def test_a_sequence_in_pieces_is_the_whole_sequence():
    inputs = _inputs(steps=20)
    whole, last = selective_scan(**inputs)
    state, pieces = None, []
    for part in (slice(0, 1), slice(1, 8), slice(8, 20)):
        piece = {
            name: value[..., part] if value.dim() == 3 else value for name, value in inputs.items()
        }
        y, state = selective_scan(**piece, state=state)
        pieces.append(y)
    torch.testing.assert_close(torch.cat(pieces, dim=-1), whole, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(state, last, rtol=1e-12, atol=1e-12)


def test_large_steps_do_not_overflow():
    inputs = _inputs(dtype=torch.float32)
    inputs["delta"] = inputs["delta"].abs() * 50
    leaves = {name: value.requires_grad_() for name, value in inputs.items()}
    y, _ = selective_scan(**leaves)
    gradients = torch.autograd.grad(y.sum(), [*leaves.values()])
    assert all(value.isfinite().all() for value in (y, *gradients))
    exact, _ = _stepwise(**{name: value.double() for name, value in inputs.items()})
    torch.testing.assert_close(y.double(), exact, rtol=1e-4, atol=1e-4)


def test_two_runs_give_the_same_bits_under_deterministic_algorithms():
    torch.use_deterministic_algorithms(True)
    try:
        runs = []
        for _ in range(2):
            leaves = {
                name: value.requires_grad_()
                for name, value in _inputs(32, 16, 16, 64, torch.float32).items()
            }
            y, _ = selective_scan(**leaves)
            runs.append([y, *torch.autograd.grad(y.square().sum(), [*leaves.values()])])
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(one, other) for one, other in zip(*runs, strict=True))


def test_half_precision_goes_in_and_out_and_single_precision_runs_inside():
    inputs = _inputs(dtype=torch.float32)
    half = {name: value.bfloat16() if value.dim() == 3 else value for name, value in inputs.items()}
    y, state = selective_scan(**half)
    exact, _ = selective_scan(**{name: value.float() for name, value in half.items()})
    assert y.dtype == torch.bfloat16
    assert state.dtype == torch.float32
    torch.testing.assert_close(y, exact.bfloat16())


@pytest.mark.parametrize("implementation", SCANS)
def test_implementations_in_the_benchmark_agree(implementation):
    inputs = [
        value for name, value in _inputs(steps=19).items() if name in "uABC" or name == "delta"
    ]
    inputs[1] = inputs[1].exp()
    torch.testing.assert_close(
        SCANS[implementation](*inputs), loop_scan(*inputs), rtol=1e-9, atol=1e-9
    )


def test_the_backend_is_said_once_a_device(caplog, monkeypatch):
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
    scan._choose.cache_clear()
    with caplog.at_level(logging.INFO, logger="mambatalk.models.mamba.scan"):
        for gradients in (True, False, True):
            with torch.set_grad_enabled(gradients):
                selective_scan(**_inputs())
    assert [record.getMessage() for record in caplog.records] == ["selective scan: torch (on cpu)"]


@pytest.mark.parametrize("error", [ImportError, OSError])
def test_a_kernel_that_cannot_be_loaded_leaves_our_scan(monkeypatch, error):
    def refuse(name, *rest, **options):
        if name.startswith(("mamba_ssm", "causal_conv1d")):
            raise error("undefined symbol")
        return real(name, *rest, **options)

    real = __import__
    monkeypatch.setattr("builtins.__import__", refuse)
    scan._kernel.cache_clear()
    scan._choose.cache_clear()
    try:
        assert scan._choose("cuda", False) == "torch"
    finally:
        scan._kernel.cache_clear()
        scan._choose.cache_clear()


@pytest.mark.parametrize("pieces", [[1] * 12, [5, 1, 6], [2, 10]])
def test_blocks_and_stacks_stream_what_the_full_pass_gives(pieces):
    torch.manual_seed(0)
    for module in (MambaBlock(8).eval(), MambaScan(8, 8, 5, layers=3).eval()):
        x = torch.randn(2, 12, 8)
        with torch.no_grad():
            whole, state, parts = module(x), module.initial_state(2), []
            for piece in x.split(pieces, dim=1):
                y, state = module.stream(piece, state)
                parts.append(y)
        torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=1e-5, atol=1e-6)


def test_a_stack_is_causal():
    torch.manual_seed(0)
    stack, x = MambaScan(8, 8, 5, layers=2).eval(), torch.randn(1, 10, 8)
    changed = x.clone()
    changed[:, 6:, 0] += 1
    with torch.no_grad():
        one, other = stack(x), stack(changed)
    torch.testing.assert_close(one[:, :6], other[:, :6])
    assert not torch.allclose(one[:, 6:], other[:, 6:])
