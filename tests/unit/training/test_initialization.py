"""First weights take on the data's scale, and change nothing else."""

import copy

import torch

from mambatalk.models.vq.vqvae import VQVAE
from mambatalk.training.initialization import CONSTANT, fit_scale


def test_a_fitted_network_is_the_blind_one_on_standardised_data():
    torch.manual_seed(0)
    mean, deviation = torch.randn(12), torch.rand(12) + 0.1
    data = mean + deviation * torch.randn(40, 64, 12)
    blind = VQVAE(12, 8, 2, 16)
    fitted = copy.deepcopy(blind)
    fit_scale(data.split(8), readers=[fitted.encoder[0]], writer=fitted.decoder[-1])
    mean, deviation = data.mean((0, 1)), data.std((0, 1), correction=0)
    told = blind((data - mean) / deviation)
    given = fitted(data)
    # At a window's edge the padding is zero, which is not the mean.
    inner = slice(16, -16)
    assert torch.equal(given.quantized.index[:, inner], told.quantized.index[:, inner])
    torch.testing.assert_close(
        given.reconstruction[:, inner],
        (told.reconstruction * deviation + mean)[:, inner],
        rtol=1e-4,
        atol=1e-4,
    )


def test_a_channel_that_never_moves_is_not_blown_up():
    torch.manual_seed(0)
    network = VQVAE(3, 8, 2, 16)
    before = network.encoder[0].weight.clone()
    fit_scale([torch.ones(4, 64, 3)], readers=[network.encoder[0]], writer=network.decoder[-1])
    torch.testing.assert_close(network.encoder[0].weight, before / CONSTANT)
    assert network(torch.ones(1, 64, 3)).reconstruction.isfinite().all()
