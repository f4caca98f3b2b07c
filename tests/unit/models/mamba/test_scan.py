"""The selective scan is exact, differentiable, resumable, deterministic and stable."""

import logging
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mambatalk.bench.scan import SCANS, loop_scan
from mambatalk.models.mamba import recurrence, scan
from mambatalk.models.mamba.recurrence import Recurrence
from mambatalk.models.mamba.scan import selective_scan


def _inputs(
    *,
    batch: int = 2,
    channels: int = 6,
    state: int = 4,
    steps: int = 11,
    dtype: torch.dtype = torch.float64,
) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
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


def _scan_by_definition(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    z: Tensor,
    delta_bias: Tensor,
) -> tuple[Tensor, Tensor]:
    """Evaluate the formulas of the scan one step at a time."""
    delta = functional.softplus(delta + delta_bias[:, None])
    state = u.new_zeros(*u.shape[:2], A.shape[1])
    outputs = []
    for t in range(u.shape[-1]):
        decay = (delta[..., t, None] * A).exp()
        drive = delta[..., t] * u[..., t]
        state = decay * state + drive[..., None] * B[:, None, :, t]
        y = (state * C[:, None, :, t]).sum(-1) + D * u[..., t]
        outputs.append(y * functional.silu(z[..., t]))
    return torch.stack(outputs, dim=-1), state


def _select_steps(inputs: Mapping[str, Tensor], steps: slice) -> dict[str, Tensor]:
    return {
        name: value[..., steps] if value.dim() == 3 else value for name, value in inputs.items()
    }


@pytest.mark.parametrize("steps", [1, 2, 11, 64])
@pytest.mark.parametrize("numbers", [1, 200, 2**19])
def test_scan_follows_its_definition_for_any_block_size(
    monkeypatch: pytest.MonkeyPatch, steps: int, numbers: int
) -> None:
    monkeypatch.setattr(recurrence, "BLOCK_NUMBERS", numbers)
    inputs = _inputs(steps=steps)
    y, last = selective_scan(**inputs)
    expected_y, expected_last = _scan_by_definition(**inputs)
    torch.testing.assert_close(y, expected_y, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(last, expected_last, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("numbers", [1, 130, 2**19])
def test_gradients_of_all_inputs_match_finite_differences(
    monkeypatch: pytest.MonkeyPatch, with_state: bool, numbers: int
) -> None:
    monkeypatch.setattr(recurrence, "BLOCK_NUMBERS", numbers)
    inputs = _inputs(channels=3, state=2, steps=7)
    # The recurrence takes positive step sizes, without softplus.
    inputs["delta"] = inputs["delta"].exp()
    leaves = [inputs[name].requires_grad_() for name in ("u", "delta", "A", "B", "C")]
    state = torch.randn(2, 3, 2, dtype=torch.float64, requires_grad=True) if with_state else None
    assert torch.autograd.gradcheck(Recurrence.apply, (*leaves, state))


def test_scan_in_pieces_equals_the_scan_of_the_whole_sequence() -> None:
    inputs = _inputs(steps=20)
    whole, last = selective_scan(**inputs)

    state = None
    pieces = []
    for steps in (slice(0, 1), slice(1, 8), slice(8, 20)):
        y, state = selective_scan(**_select_steps(inputs, steps), state=state)
        pieces.append(y)

    torch.testing.assert_close(torch.cat(pieces, dim=-1), whole, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(state, last, rtol=1e-12, atol=1e-12)


def test_large_step_sizes_do_not_overflow() -> None:
    inputs = _inputs(dtype=torch.float32)
    inputs["delta"] = inputs["delta"].abs() * 50
    leaves = {name: value.requires_grad_() for name, value in inputs.items()}
    y, _ = selective_scan(**leaves)
    gradients = torch.autograd.grad(y.sum(), [*leaves.values()])
    assert all(value.isfinite().all() for value in (y, *gradients))

    double = {name: value.detach().double() for name, value in inputs.items()}
    exact, _ = _scan_by_definition(**double)
    torch.testing.assert_close(y.detach().double(), exact, rtol=1e-4, atol=1e-4)


def _output_and_gradients() -> list[Tensor]:
    inputs = _inputs(batch=32, channels=16, state=16, steps=64, dtype=torch.float32)
    leaves = [value.requires_grad_() for value in inputs.values()]
    y, _ = selective_scan(**inputs)
    return [y, *torch.autograd.grad(y.square().sum(), leaves)]


def test_repeated_runs_are_identical_under_deterministic_algorithms() -> None:
    torch.use_deterministic_algorithms(True)
    try:
        first = _output_and_gradients()
        second = _output_and_gradients()
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_half_precision_inputs_are_scanned_in_single_precision() -> None:
    inputs = _inputs(dtype=torch.float32)
    half = {name: value.bfloat16() if value.dim() == 3 else value for name, value in inputs.items()}
    y, state = selective_scan(**half)
    single = {name: value.float() for name, value in half.items()}
    exact, _ = selective_scan(**single)
    assert y.dtype == torch.bfloat16
    assert state.dtype == torch.float32
    torch.testing.assert_close(y, exact.bfloat16())


@pytest.mark.parametrize("implementation", SCANS)
def test_all_implementations_in_the_benchmark_agree(implementation: str) -> None:
    inputs = _inputs(steps=19)
    arguments = [inputs["u"], inputs["delta"].exp(), inputs["A"], inputs["B"], inputs["C"]]
    expected = loop_scan(*arguments)
    output = SCANS[implementation](*arguments)
    torch.testing.assert_close(output, expected, rtol=1e-9, atol=1e-9)


def test_chosen_backend_is_logged_once_per_device(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
    scan._choose.cache_clear()
    with caplog.at_level(logging.INFO, logger="mambatalk.models.mamba.scan"):
        for gradients in (True, False, True):
            with torch.set_grad_enabled(gradients):
                selective_scan(**_inputs(dtype=torch.float32))
    assert [record.getMessage() for record in caplog.records] == ["selective scan: numba (on cpu)"]


@pytest.mark.parametrize("error", [ImportError, OSError])
def test_pytorch_scan_is_used_if_the_kernel_cannot_be_loaded(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    real_import = __import__

    def failing_import(name: str, *rest: Any, **options: Any) -> Any:
        if name.startswith(("mamba_ssm", "causal_conv1d")):
            raise error("undefined symbol")
        return real_import(name, *rest, **options)

    monkeypatch.setattr("builtins.__import__", failing_import)
    scan._kernel.cache_clear()
    scan._choose.cache_clear()
    try:
        assert scan._choose("cuda", False, False, False) == "torch"
    finally:
        scan._kernel.cache_clear()
        scan._choose.cache_clear()
