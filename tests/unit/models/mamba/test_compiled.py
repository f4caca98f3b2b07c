"""Compiled layers give the results and gradients of their definitions in double precision."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from mambatalk.models.generator.audio_encoder import SLOPE, AudioBlock
from mambatalk.models.mamba.attention import Dropout, EncoderLayer
from mambatalk.models.mamba.block import MambaScan
from mambatalk.models.mamba.causal_conv import causal_conv
from mambatalk.models.mamba.compiled import load
from mambatalk.models.mamba.compiled.dropout import CompiledAttention, CompiledDropout
from mambatalk.models.mamba.compiled.load import loops
from mambatalk.models.mamba.compiled.norm import CompiledNorm
from mambatalk.models.mamba.scan import selective_scan

# Single precision, relative to the largest number: sums of up to 10,000 terms.
TOLERANCE = 5e-6


def _draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _assert_close(actual: Tensor, expected: Tensor, tolerance: float = TOLERANCE) -> None:
    error = (actual.double() - expected).abs().max() / expected.abs().max()
    assert float(error) < tolerance


def _assert_same_function(
    function: Callable[..., Sequence[Tensor]],
    definition: Callable[..., Sequence[Tensor]],
    inputs: Sequence[Tensor],
) -> None:
    """Compare outputs and gradients, in single and in double precision."""
    single = [x.clone().requires_grad_() for x in inputs]
    double = [x.double().requires_grad_() for x in inputs]
    outputs = function(*single)
    expected = definition(*double)
    weights = [_draw(*y.shape, seed=k) for k, y in enumerate(expected)]
    gradients = torch.autograd.grad(outputs, single, weights)
    expected_gradients = torch.autograd.grad(expected, double, [w.double() for w in weights])
    pairs = zip([*outputs, *gradients], [*expected, *expected_gradients], strict=True)
    for actual, exact in pairs:
        _assert_close(actual.detach(), exact.detach())


def _scan_inputs(batch: int, channels: int, states: int, steps: int) -> list[Tensor]:
    return [
        _draw(batch, channels, steps),
        _draw(batch, channels, steps, seed=1) - 2,
        -_draw(channels, states, seed=2).exp(),
        _draw(batch, states, steps, seed=3),
        _draw(batch, states, steps, seed=4),
    ]


# The backward pass works on 128 channels at once.
@pytest.mark.parametrize("shape", [(2, 6, 4, 11), (1, 130, 3, 5), (3, 128, 16, 1)])
def test_scan_with_all_options(shape: tuple[int, int, int, int]) -> None:
    batch, channels, states, steps = shape
    inputs = [
        *_scan_inputs(*shape),
        _draw(channels, seed=5),
        _draw(batch, channels, steps, seed=6),
        _draw(channels, seed=7),
        _draw(batch, channels, states, seed=8),
    ]

    def run(
        u: Tensor,
        delta: Tensor,
        A: Tensor,
        B: Tensor,
        C: Tensor,
        D: Tensor,
        z: Tensor,
        bias: Tensor,
        state: Tensor,
    ) -> Sequence[Tensor]:
        return selective_scan(u, delta, A, B, C, D=D, z=z, delta_bias=bias, state=state)

    # In double precision the scan is that of `recurrence.py`, which finite differences confirm.
    _assert_same_function(run, run, inputs)


def test_scan_without_options() -> None:
    _assert_same_function(selective_scan, selective_scan, _scan_inputs(2, 5, 4, 9))


@pytest.mark.parametrize("past", [False, True])
@pytest.mark.parametrize("steps", [1, 3, 20])
def test_causal_convolution(past: bool, steps: int) -> None:
    def run(x: Tensor, weight: Tensor, bias: Tensor, *before: Tensor) -> Sequence[Tensor]:
        return causal_conv(x, weight, bias, before[0] if before else None)[:1]

    inputs = [_draw(2, 6, steps), _draw(6, 1, 4, seed=1), _draw(6, seed=2)]
    _assert_same_function(run, run, [*inputs, _draw(2, 6, 3, seed=3)] if past else inputs)


@pytest.mark.parametrize("packed", [1, 2, 3])
def test_attention_without_dropout(packed: int) -> None:
    # Queries, keys and values in three tensors, keys and values in one, or all in one.
    batch, heads, steps, width = 2, 3, 7, 12
    bias = _draw(heads, steps, steps, seed=9)
    sizes = {1: [1, 1, 1], 2: [1, 2], 3: [3]}[packed]
    inputs = [_draw(batch, steps, n * width, seed=k) for k, n in enumerate(sizes)]

    def definition(*projected: Tensor) -> Sequence[Tensor]:
        parts = torch.cat(projected, dim=-1).split(width, dim=-1)
        q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in parts)
        y = functional.scaled_dot_product_attention(q, k, v, bias.to(q.dtype))
        return [y.transpose(1, 2).flatten(2)]

    _assert_same_function(
        lambda *projected: [CompiledAttention.apply(heads, 0.0, bias, *projected)],
        definition,
        inputs,
    )


def test_attention_with_dropout_drops_the_same_weights_in_both_directions() -> None:
    steps, probability = 16, 0.3
    query, key = _draw(1, steps, steps), _draw(1, steps, steps, seed=1)

    def run(*projected: Tensor) -> Sequence[Tensor]:
        torch.manual_seed(3)
        return [CompiledAttention.apply(1, probability, None, *projected)]

    # The output for the unit matrix is the weights that were kept.
    kept = run(query, key, torch.eye(steps)[None])[0] > 0
    assert 0.1 < float((~kept).float().mean()) < 0.5

    def definition(q: Tensor, k: Tensor, v: Tensor) -> Sequence[Tensor]:
        weights = (q @ k.transpose(1, 2) * steps**-0.5).softmax(-1)
        return [(weights * kept / (1 - probability)) @ v]

    _assert_same_function(run, definition, [query, key, _draw(1, steps, steps, seed=2)])


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_dropout_drops_the_given_share_and_keeps_the_mean(probability: float) -> None:
    torch.manual_seed(0)
    ones = torch.ones(400_003, requires_grad=True)
    y = CompiledDropout.apply(ones, probability)
    assert float((y == 0).double().mean()) == pytest.approx(probability, abs=3e-3)
    assert float(y.double().mean()) == pytest.approx(1, abs=8e-3)
    assert len(y.unique()) == 2
    (gradient,) = torch.autograd.grad(y.sum(), ones)
    assert torch.equal(gradient, y.detach())


def test_dropout_is_reproducible_and_its_elements_are_independent() -> None:
    masks = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        masks.append(CompiledDropout.apply(torch.ones(400_000), 0.5) > 0)
    first, again, other = masks
    assert torch.equal(first, again)
    assert float((first & other).double().mean()) == pytest.approx(0.25, abs=4e-3)

    # A window has 64 frames, so dependence would matter at small distances and multiples of 64.
    for gap in (*range(1, 9), 16, 64, 128, 4096):
        both = (first[gap:] & first[:-gap]).double().mean()
        assert float(both) == pytest.approx(0.25, abs=4e-3)


# Rows of few channels are put together to blocks of 128 numbers, the last of which may be shorter.
@pytest.mark.parametrize(("rows", "channels"), [(1001, 8), (300, 24), (64, 200), (5, 3)])
def test_norm_with_leaky_relu(rows: int, channels: int) -> None:
    slopes = torch.where(torch.arange(channels) % 2 == 0, SLOPE, 1.0)
    inputs = [
        3 + 2 * _draw(rows, channels),
        1 + 0.3 * _draw(channels, seed=1),
        _draw(channels, seed=2),
    ]

    def definition(x: Tensor, weight: Tensor, bias: Tensor) -> Sequence[Tensor]:
        y = functional.batch_norm(x, None, None, weight, bias, training=True)
        return [torch.where(y > 0, y, y * slopes)]

    _assert_same_function(
        lambda x, weight, bias: CompiledNorm.apply(x, weight, bias, slopes, 1e-5)[:1],
        definition,
        inputs,
    )


@pytest.mark.parametrize("same", [False, True])
def test_audio_block_equals_its_layers_and_updates_running_statistics(same: bool) -> None:
    torch.manual_seed(0)
    block = AudioBlock(6, 6, 1 if same else 3, 7, same=same)
    layers = AudioBlock(6, 6, 1 if same else 3, 7, same=same).double()
    layers.load_state_dict(block.state_dict())
    x = _draw(2, 6, 100)

    wave = x.double()
    y = layers.bn2(layers.conv2(layers.activation(layers.bn1(layers.conv1(wave)))))
    expected = layers.activation(y + layers.shortcut(wave))
    _assert_close(block(x).detach(), expected.detach())
    for name, value in layers.state_dict().items():
        torch.testing.assert_close(block.state_dict()[name].double(), value.double())


def test_a_number_that_is_not_finite_reaches_the_output() -> None:
    for bad in (float("nan"), float("inf")):
        inputs = _scan_inputs(1, 3, 2, 5)
        inputs[0][0, 1, 2] = bad
        assert not selective_scan(*inputs)[0].isfinite().all()
        broken = torch.full((1, 4, 6), bad)
        assert not CompiledAttention.apply(1, 0.1, None, broken, broken, broken).isfinite().all()
        y = CompiledNorm.apply(broken[0], torch.ones(6), torch.zeros(6), torch.ones(6), 1e-5)[0]
        assert not y.isfinite().any()


@pytest.mark.parametrize("network", [EncoderLayer(16, 4, 0.1), MambaScan(16, 16, 16, 1)])
@pytest.mark.parametrize("autocast", [True, False])
def test_half_precision_runs_in_pytorch(network: nn.Module, autocast: bool) -> None:
    network = network.to(torch.float32 if autocast else torch.bfloat16)
    x = _draw(2, 8, 16).to(torch.float32 if autocast else torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        y = network(x)
    y.float().sum().backward()
    assert y.isfinite().all()
    assert all(weight.grad is not None for weight in network.parameters())


def test_elementary_functions_have_single_precision() -> None:
    from mambatalk.models.mamba.compiled.loops import arithmetic

    for x in torch.linspace(-30, 30, 601).numpy():
        exact = torch.tensor(float(x), dtype=torch.float64)
        for function, expected in (
            (arithmetic.exp2, exact.exp2()),
            (arithmetic.sigmoid, exact.sigmoid()),
            (arithmetic.softplus, functional.softplus(exact, threshold=100)),
        ):
            assert function(x) == pytest.approx(float(expected), rel=2e-6)


def test_layers_run_in_pytorch_where_numba_cannot_compile(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise RuntimeError("cannot cache function")

    monkeypatch.setattr(load, "loops", fail)
    load.is_available.cache_clear()
    try:
        assert not load.is_compiled(torch.zeros(1))
        assert "numba cannot compile here" in caplog.text
        layer = EncoderLayer(8, 2, 0.1)
        assert layer(_draw(2, 5, 8)).isfinite().all()
        assert AudioBlock(2, 4, 3, 7)(_draw(2, 2, 50)).isfinite().all()
    finally:
        load.is_available.cache_clear()
    assert loops().scan_forward is not None


def test_a_stop_signal_within_a_compilation_is_not_taken_for_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stopped() -> None:
        try:
            raise KeyboardInterrupt
        finally:
            raise RuntimeError("no compiled object yet")

    monkeypatch.setattr(load, "loops", stopped)
    load.is_available.cache_clear()
    try:
        with pytest.raises(KeyboardInterrupt):
            load.is_available()
    finally:
        load.is_available.cache_clear()


def test_dropout_is_the_identity_in_evaluation() -> None:
    x = torch.randn(3, 4)
    assert torch.equal(Dropout(0.5).eval()(x), x)
