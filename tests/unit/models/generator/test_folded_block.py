"""Audio blocks with folded batch norms against blocks of single operations."""

import pytest
import torch
from torch import nn

from mambatalk.models.generator.audio_encoder import AudioBlock
from mambatalk.models.generator.folded_block import FoldedBlock


def block(channels_in: int, channels_out: int, stride: int, *, same: bool) -> AudioBlock:
    torch.manual_seed(0)
    made = AudioBlock(channels_in, channels_out, stride, padding=7 if same else 0, same=same)
    for norm in made.modules():
        if isinstance(norm, nn.BatchNorm1d):
            nn.init.normal_(norm.weight, 1, 0.3)
            nn.init.normal_(norm.bias, 0, 0.3)
            norm.running_mean.normal_(0, 0.2)
            norm.running_var.uniform_(0.5, 2)
    return made.eval()


@pytest.mark.parametrize(
    ("channels_in", "channels_out", "stride", "same"),
    [(3, 8, 5, False), (8, 8, 1, True), (8, 24, 6, False)],
)
@torch.inference_mode()
def test_a_folded_block_computes_the_block(
    channels_in: int, channels_out: int, stride: int, same: bool
) -> None:
    made = block(channels_in, channels_out, stride, same=same)
    convs = [(made.conv1, made.bn1), (made.conv2, made.bn2)]
    if not same:
        convs.append((made.shortcut[0], made.shortcut[1]))
    wave = torch.randn(4, channels_in, 300)
    expected = made(wave)
    exact = FoldedBlock(convs, torch.float32)(wave.unsqueeze(2)).squeeze(2)
    torch.testing.assert_close(exact, expected, rtol=1e-4, atol=1e-5)

    half = FoldedBlock(convs, torch.bfloat16)(wave.unsqueeze(2)).squeeze(2)
    assert half.dtype == torch.bfloat16
    assert 0 < float((half - expected).abs().max()) < 0.05 * float(expected.std()) + 0.05
