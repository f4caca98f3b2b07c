"""The CUDA kernels of mamba-ssm and causal-conv1d against PyTorch, outputs and gradients."""

from collections.abc import Mapping
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from mambatalk.models.mamba import causal_conv as causal_conv_module
from mambatalk.models.mamba import scan
from mambatalk.models.mamba.block import MambaScan
from mambatalk.models.mamba.causal_conv import causal_conv
from mambatalk.models.mamba.scan import Backend, selective_scan

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.usefixtures("full_precision"),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    pytest.mark.skipif(scan._kernel() is None, reason="mamba-ssm cannot be imported"),
]

FORWARD_BAR = 1e-5
GRADIENT_BAR = 1e-4


class ScanResult(NamedTuple):
    """Output, last state and gradients of one scan."""

    y: Tensor
    last: Tensor
    gradients: dict[str, Tensor]


def _relative_error(value: Tensor, expected: Tensor) -> float:
    value = value.detach().double().cpu()
    expected = expected.detach().double().cpu()
    return float((value - expected).abs().max() / expected.abs().max())


def _scan_inputs(batch: int, channels: int, steps: int, state: int = 16) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).cuda()

    return {
        "u": draw(batch, channels, steps),
        "delta": 0.5 * draw(batch, channels, steps),
        "A": -(0.5 * draw(channels, state)).exp(),
        "B": draw(batch, state, steps),
        "C": draw(batch, state, steps),
        "D": draw(channels),
        "z": draw(batch, channels, steps),
        "delta_bias": draw(channels) - 3,
    }


def _run_scan(inputs: Mapping[str, Tensor], backend: Backend | None) -> ScanResult:
    leaves = {name: value.clone().requires_grad_() for name, value in inputs.items()}
    y, last = selective_scan(**leaves, backend=backend)
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y)
    gradients = torch.autograd.grad((y * weights).sum(), [*leaves.values()])
    return ScanResult(y, last, dict(zip(leaves, gradients, strict=True)))


@pytest.mark.parametrize("backend", ["triton", "mamba_ssm"])
@pytest.mark.parametrize("sizes", [(2, 24, 100), (8, 1536, 64), (1, 1500, 300)])
def test_scan_kernels_agree_with_the_pytorch_scan(
    sizes: tuple[int, int, int], backend: Backend
) -> None:
    inputs = _scan_inputs(*sizes)
    kernel = _run_scan(inputs, backend)
    expected = _run_scan(inputs, "torch")
    assert _relative_error(kernel.y, expected.y) <= FORWARD_BAR
    assert _relative_error(kernel.last, expected.last) <= FORWARD_BAR
    for name, gradient in kernel.gradients.items():
        assert _relative_error(gradient, expected.gradients[name]) <= GRADIENT_BAR, name


def test_pytorch_scan_agrees_on_cuda_and_cpu() -> None:
    inputs = _scan_inputs(4, 96, 64)
    cuda = _run_scan(inputs, "torch")
    cpu = _run_scan({name: value.cpu() for name, value in inputs.items()}, "torch")
    assert _relative_error(cuda.y, cpu.y) <= FORWARD_BAR
    for name, gradient in cuda.gradients.items():
        assert _relative_error(gradient, cpu.gradients[name]) <= GRADIENT_BAR, name


@pytest.mark.parametrize("backend", ["triton", "mamba_ssm"])
def test_scan_kernels_resume_from_a_state(backend: Backend) -> None:
    inputs = _scan_inputs(2, 64, 50)
    whole, last = selective_scan(**inputs, backend="torch")

    state = None
    pieces = []
    for steps in (slice(0, 20), slice(20, 21), slice(21, 50)):
        piece = {
            name: value[..., steps].contiguous() if value.dim() == 3 else value
            for name, value in inputs.items()
        }
        y, state = selective_scan(**piece, state=state, backend=backend)
        pieces.append(y)

    assert state is not None
    assert _relative_error(torch.cat(pieces, dim=-1), whole) <= FORWARD_BAR
    assert _relative_error(state, last) <= FORWARD_BAR


def _run_convolution(*inputs: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    x, weight, bias = (value.clone().requires_grad_() for value in inputs)
    y, _ = causal_conv(x, weight, bias, None)
    return y, torch.autograd.grad(y.square().sum(), [x, weight, bias])


def test_convolution_kernel_agrees_with_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    assert causal_conv_module._kernel() is not None, "causal-conv1d cannot be imported"
    torch.manual_seed(0)
    shapes = ((4, 64, 33), (64, 1, 4), (64,))
    inputs = [torch.randn(*shape, device="cuda") for shape in shapes]
    y, gradients = _run_convolution(*inputs)
    monkeypatch.setattr(causal_conv_module, "_kernel", lambda: None)
    expected_y, expected_gradients = _run_convolution(*inputs)

    assert _relative_error(y, expected_y) <= FORWARD_BAR
    for gradient, expected in zip(gradients, expected_gradients, strict=True):
        assert _relative_error(gradient, expected) <= GRADIENT_BAR


def test_kernel_is_used_by_default_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    scan._choose.cache_clear()
    with caplog.at_level("INFO", logger="mambatalk.models.mamba.scan"):
        for _ in range(2):
            selective_scan(**_scan_inputs(1, 8, 10))
    assert [record.getMessage() for record in caplog.records] == [
        "selective scan: triton (on cuda)"
    ]


@pytest.mark.parametrize("steps", [64, scan.SHORT + 1])
def test_deterministic_training_repeats_bit_for_bit(steps: int) -> None:
    torch.use_deterministic_algorithms(True)
    try:
        first = _run_scan(_scan_inputs(8, 128, steps), None)
        second = _run_scan(_scan_inputs(8, 128, steps), None)
    finally:
        torch.use_deterministic_algorithms(False)

    assert torch.equal(first.y, second.y)
    for name, gradient in first.gradients.items():
        assert torch.equal(gradient, second.gradients[name]), name


def test_stack_on_cuda_streams_the_results_of_the_full_pass() -> None:
    torch.manual_seed(0)
    stack = MambaScan(64, 64, 32, layers=3).eval()
    x = torch.randn(2, 24, 64)
    with torch.no_grad():
        cpu = stack(x)
        stack = stack.cuda()
        x = x.cuda()
        state = stack.initial_state(2)
        pieces = []
        for piece in x.split([1] * 8 + [16], dim=1):
            y, state = stack.stream(piece, state)
            pieces.append(y)
        assert _relative_error(stack(x), cpu) <= FORWARD_BAR
        assert _relative_error(torch.cat(pieces, dim=1), cpu) <= FORWARD_BAR
