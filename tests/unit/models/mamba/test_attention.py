"""The transformer layers have the weights and the output of PyTorch's own."""

import torch
from torch import nn

from mambatalk.models.mamba.attention import Decoder, EncoderLayer


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


def test_one_memory_serves_several_passes_over_the_same_windows() -> None:
    torch.manual_seed(0)
    decoder = Decoder(16, 4, 0.1, 2).eval()
    x, memory = torch.randn(6, 9, 16), torch.randn(2, 11, 16)
    repeated = memory.repeat(3, 1, 1)
    torch.testing.assert_close(decoder(x, memory), decoder(x, repeated), rtol=1e-5, atol=1e-6)
