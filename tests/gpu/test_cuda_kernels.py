"""The CUDA kernels of mamba-ssm and causal-conv1d against our own code, values and gradients."""

import pytest
import torch

from mambatalk.models.mamba import causal_conv as causal_conv_module
from mambatalk.models.mamba import scan
from mambatalk.models.mamba.block import MambaScan
from mambatalk.models.mamba.causal_conv import causal_conv
from mambatalk.models.mamba.scan import selective_scan

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    pytest.mark.skipif(scan._kernel() is None, reason="mamba-ssm cannot be imported"),
]
FORWARD_BAR, GRADIENT_BAR = 1e-5, 1e-4


@pytest.fixture(autouse=True)
def _full_precision(monkeypatch):
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def relative_error(ours, theirs):
    return float(
        (ours.double().cpu() - theirs.double().cpu()).abs().max()
        / theirs.double().abs().max().cpu()
    )


def scan_inputs(batch, channels, steps, state=16, device="cuda"):
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=generator).to(device)

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


def values_and_gradients(inputs, backend):
    leaves = {name: value.clone().requires_grad_() for name, value in inputs.items()}
    y, last = selective_scan(**leaves, backend=backend)
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y)
    return (
        y,
        last,
        dict(
            zip(leaves, torch.autograd.grad((y * weights).sum(), [*leaves.values()]), strict=True)
        ),
    )


@pytest.mark.parametrize("sizes", [(2, 24, 100), (8, 1536, 64), (1, 1536, 300)])
def test_scan_kernel_is_our_scan(sizes):
    inputs = scan_inputs(*sizes)
    kernel, ours = values_and_gradients(inputs, "mamba_ssm"), values_and_gradients(inputs, "torch")
    assert relative_error(kernel[0], ours[0]) <= FORWARD_BAR
    assert relative_error(kernel[1], ours[1]) <= FORWARD_BAR
    for name, gradient in kernel[2].items():
        assert relative_error(gradient, ours[2][name]) <= GRADIENT_BAR, name


def test_our_scan_on_cuda_is_our_scan_on_the_cpu():
    inputs = scan_inputs(4, 96, 64)
    cuda = values_and_gradients(inputs, "torch")
    cpu = values_and_gradients({name: value.cpu() for name, value in inputs.items()}, "torch")
    assert relative_error(cuda[0], cpu[0]) <= FORWARD_BAR
    for name, gradient in cuda[2].items():
        assert relative_error(gradient, cpu[2][name]) <= GRADIENT_BAR, name


def test_scan_kernel_goes_on_from_a_state():
    inputs = scan_inputs(2, 64, 50)
    whole, last = selective_scan(**inputs, backend="torch")
    state, pieces = None, []
    for part in (slice(0, 20), slice(20, 21), slice(21, 50)):
        piece = {
            name: value[..., part].contiguous() if value.dim() == 3 else value
            for name, value in inputs.items()
        }
        y, state = selective_scan(**piece, state=state, backend="mamba_ssm")
        pieces.append(y)
    assert relative_error(torch.cat(pieces, dim=-1), whole) <= FORWARD_BAR
    assert relative_error(state, last) <= FORWARD_BAR


def test_convolution_kernel_is_the_convolution(monkeypatch):
    assert causal_conv_module._kernel() is not None, "causal-conv1d cannot be imported"
    torch.manual_seed(0)
    x, weight, bias = (
        torch.randn(*shape, device="cuda") for shape in ((4, 64, 33), (64, 1, 4), (64,))
    )
    with_kernel = convolve(x, weight, bias)
    monkeypatch.setattr(causal_conv_module, "_kernel", lambda: None)
    plain = convolve(x, weight, bias)
    assert relative_error(with_kernel[0], plain[0]) <= FORWARD_BAR
    for ours, theirs in zip(with_kernel[1], plain[1], strict=True):
        assert relative_error(ours, theirs) <= GRADIENT_BAR


def convolve(*inputs):
    leaves = [value.clone().requires_grad_() for value in inputs]
    y, _ = causal_conv(*leaves, None)
    return y, torch.autograd.grad(y.square().sum(), leaves)


def test_kernels_run_without_being_asked_for_and_say_so(caplog):
    scan._choose.cache_clear()
    with caplog.at_level("INFO", logger="mambatalk.models.mamba.scan"):
        for _ in range(2):
            selective_scan(**scan_inputs(1, 8, 10))
    assert [record.getMessage() for record in caplog.records] == [
        "selective scan: mamba_ssm (on cuda)"
    ]


def test_deterministic_training_leaves_the_kernel_and_gives_the_same_bits():
    torch.use_deterministic_algorithms(True)
    try:
        assert scan.backend_name(torch.zeros(1, device="cuda")) == "torch"
        with torch.no_grad():
            assert scan.backend_name(torch.zeros(1, device="cuda")) == "mamba_ssm"
        runs = [values_and_gradients(scan_inputs(8, 128, 64), None) for _ in range(2)]
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.equal(runs[0][0], runs[1][0])
    assert all(torch.equal(gradient, runs[1][2][name]) for name, gradient in runs[0][2].items())


def test_a_stack_on_cuda_streams_what_the_full_pass_gives():
    torch.manual_seed(0)
    stack, x = MambaScan(64, 64, 32, layers=3).eval(), torch.randn(2, 24, 64)
    with torch.no_grad():
        cpu = stack(x)
        stack, x = stack.cuda(), x.cuda()
        state, pieces = stack.initial_state(2), []
        for piece in x.split([1] * 8 + [16], dim=1):
            y, state = stack.stream(piece, state)
            pieces.append(y)
        assert relative_error(stack(x), cpu) <= FORWARD_BAR
        assert relative_error(torch.cat(pieces, dim=1), cpu) <= FORWARD_BAR
