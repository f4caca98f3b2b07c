"""Attention and dropout give the results and gradients of PyTorch's own layers."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from mambatalk.models.mamba import attention
from mambatalk.models.mamba.attention import Decoder, Dropout, EncoderLayer, dropout_mask


def _heads(*, time: int, seed: int = 0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    heads = torch.randn(2, 3, time, 4, generator=draw, dtype=torch.float64)
    return heads.requires_grad_()


def _attend(query: Tensor, key: Tensor, value: Tensor, *, probability: float) -> Tensor:
    torch.manual_seed(1)
    bias = torch.linspace(-1, 1, 3 * 5 * 7, dtype=torch.float64).view(3, 5, 7)
    return attention._DropoutAttention.apply(query, key, value, bias, probability)


def test_attention_without_dropout_equals_pytorch() -> None:
    query, key, value = _heads(time=5), _heads(time=7, seed=1), _heads(time=7, seed=2)
    bias = torch.linspace(-1, 1, 3 * 5 * 7, dtype=torch.float64).view(3, 5, 7)
    expected = functional.scaled_dot_product_attention(query, key, value, bias)
    torch.testing.assert_close(_attend(query, key, value, probability=0.0), expected)


def test_gradients_of_attention_with_dropout_match_finite_differences() -> None:
    inputs = (_heads(time=5), _heads(time=7, seed=1), _heads(time=7, seed=2))
    assert torch.autograd.gradcheck(lambda *heads: _attend(*heads, probability=0.3), inputs)


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_dropout_mask_drops_the_given_share_and_keeps_the_mean(probability: float) -> None:
    torch.manual_seed(0)
    mask = dropout_mask(torch.empty(400_003), probability)
    assert float((mask == 0).double().mean()) == pytest.approx(probability, abs=3e-3)
    assert float(mask.double().mean()) == pytest.approx(1, abs=6e-3)
    assert len(mask.unique()) == 2


def test_dropout_mask_is_reproducible_and_its_elements_are_independent() -> None:
    torch.manual_seed(0)
    mask = dropout_mask(torch.empty(400_000), 0.5) > 0
    torch.manual_seed(0)
    assert torch.equal(mask, dropout_mask(torch.empty(400_000), 0.5) > 0)

    # Four elements share a random word, so dependence would show at small distances.
    for gap in range(1, 9):
        both = (mask[gap:] & mask[:-gap]).double().mean()
        assert float(both) == pytest.approx(0.25, abs=4e-3)


def test_dropout_is_the_identity_in_evaluation() -> None:
    x = torch.randn(3, 4)
    assert torch.equal(Dropout(0.5).eval()(x), x)


def test_encoder_layer_has_the_weights_and_output_of_pytorch() -> None:
    torch.manual_seed(0)
    theirs = nn.TransformerEncoderLayer(16, 4, 16, 0.1, batch_first=True).eval()
    torch.manual_seed(0)
    ours = EncoderLayer(16, 4, 0.1).eval()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    x = torch.randn(2, 9, 16)
    torch.testing.assert_close(ours(x), theirs(x))


def test_decoder_has_the_weights_and_output_of_pytorch() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerDecoderLayer(16, 4, 16, 0.1, batch_first=True)
    theirs = nn.TransformerDecoder(layer, 3).eval()
    torch.manual_seed(0)
    ours = Decoder(16, 4, 0.1, 3).eval()

    expected = theirs.state_dict()
    assert list(ours.state_dict()) == list(expected)
    assert all(torch.equal(value, expected[name]) for name, value in ours.state_dict().items())

    x, memory = torch.randn(2, 9, 16), torch.randn(2, 11, 16)
    bias = torch.randn(4, 9, 11)
    output = theirs(x, memory, memory_mask=bias.repeat(2, 1, 1))
    torch.testing.assert_close(ours(x, memory, bias), output, rtol=1e-5, atol=1e-5)
