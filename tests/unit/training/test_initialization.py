"""Data-dependent initialisation standardises the data and changes nothing else."""

import copy
from collections.abc import Iterable

import torch
from torch import Tensor

from mambatalk.models.vq.vqvae import VQVAE, AutoEncoder
from mambatalk.training.initialization import data_dependent_init

MIN_DEVIATION = 0.05


def initialise(network: VQVAE, data: Iterable[Tensor]) -> None:
    data_dependent_init(
        data,
        inputs=[network.encoder[0]],
        output=network.decoder[-1],
        min_deviation=MIN_DEVIATION,
    )


def test_initialised_network_is_the_plain_one_on_standardised_data() -> None:
    torch.manual_seed(0)
    mean, deviation = torch.randn(12), torch.rand(12) + 0.1
    data = mean + deviation * torch.randn(40, 64, 12)
    plain = VQVAE(12, 8, 2, 16)
    fitted = copy.deepcopy(plain)
    initialise(fitted, data.split(8))
    mean, deviation = data.mean((0, 1)), data.std((0, 1), correction=0)
    expected = plain((data - mean) / deviation)
    found = fitted(data)
    # At a window's edge the padding is zero, which is not the mean.
    inner = slice(16, -16)
    assert torch.equal(found.quantized.index[:, inner], expected.quantized.index[:, inner])
    torch.testing.assert_close(
        found.reconstruction[:, inner],
        (expected.reconstruction * deviation + mean)[:, inner],
        rtol=1e-4,
        atol=1e-4,
    )


def test_a_network_that_writes_other_channels_takes_their_scale() -> None:
    torch.manual_seed(0)
    data, targets = torch.randn(40, 64, 3), 5 + 2 * torch.randn(40, 64, 3)
    plain = AutoEncoder(3, 8, 2)
    fitted = copy.deepcopy(plain)
    data_dependent_init(
        [data],
        targets=[targets],
        inputs=[fitted.encoder[0]],
        output=fitted.decoder[-1],
        min_deviation=MIN_DEVIATION,
    )
    inner = slice(16, -16)
    mean, deviation = targets.mean((0, 1)), targets.std((0, 1), correction=0)
    standard = (data - data.mean((0, 1))) / data.std((0, 1), correction=0)
    torch.testing.assert_close(
        fitted(data)[:, inner], (plain(standard) * deviation + mean)[:, inner], rtol=1e-4, atol=1e-4
    )


def test_constant_channel_is_not_amplified() -> None:
    torch.manual_seed(0)
    network = VQVAE(3, 8, 2, 16)
    before = network.encoder[0].weight.clone()
    initialise(network, [torch.ones(4, 64, 3)])
    torch.testing.assert_close(network.encoder[0].weight, before / MIN_DEVIATION)
    assert network(torch.ones(1, 64, 3)).reconstruction.isfinite().all()
