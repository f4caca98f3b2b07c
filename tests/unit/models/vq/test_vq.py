"""The auto-encoders and their codebook."""

from pathlib import Path

import pytest
import torch

from mambatalk.errors import InputError
from mambatalk.models.vq.quantizer import LearnedCodebook
from mambatalk.models.vq.storage import load_auto_encoder, save_auto_encoder
from mambatalk.models.vq.vqvae import VQVAE, AutoEncoder, Borders


def test_codes_are_the_nearest_and_the_gradient_passes_straight_through() -> None:
    torch.manual_seed(0)
    quantizer = LearnedCodebook(7, 5)
    latent = torch.randn(2, 4, 5, requires_grad=True)
    quantized = quantizer(latent)
    distances = torch.cdist(latent, quantizer.table[None])
    assert torch.equal(quantized.index, distances.argmin(-1))
    torch.testing.assert_close(quantized.vectors, quantizer.lookup(quantized.index))

    (gradient,) = torch.autograd.grad(quantized.vectors.sum(), latent, retain_graph=True)
    assert torch.equal(gradient, torch.ones_like(latent))


def test_quantisation_loss_pulls_codes_and_latents_equally() -> None:
    torch.manual_seed(0)
    quantizer = LearnedCodebook(7, 5)
    latent = torch.randn(2, 4, 5, requires_grad=True)
    quantized = quantizer(latent)
    distance = (latent - quantizer.lookup(quantized.index)).detach()
    assert float(quantized.loss.detach()) == pytest.approx(2 * float(distance.square().mean()))

    to_codes, to_latents = torch.autograd.grad(quantized.loss, [quantizer.table, latent])
    torch.testing.assert_close(to_latents, 2 * distance / distance.numel())
    torch.testing.assert_close(to_codes.sum(0), -to_latents.sum((0, 1)))


def test_perplexity_counts_codes_in_use() -> None:
    quantizer = LearnedCodebook(8, 4)
    codes = torch.tensor([[0, 1, 2, 3], [0, 1, 2, 3]])
    latent = quantizer.table.detach()[codes]
    assert float(quantizer(latent).perplexity) == pytest.approx(4, rel=1e-4)
    assert float(quantizer(latent[:, :1]).perplexity) == pytest.approx(1, rel=1e-4)


@pytest.mark.parametrize(("layers", "encoder_reach", "decoder_reach"), [(2, 6, 7), (4, 12, 9)])
def test_receptive_fields_are_the_documented_ones(
    layers: int, encoder_reach: int, decoder_reach: int
) -> None:
    torch.manual_seed(0)
    model = AutoEncoder(5, 8, layers)
    for network, channels, reach in (
        (model.encoder, 5, encoder_reach),
        (model.decoder, 8, decoder_reach),
    ):
        x = torch.randn(1, 61, channels, requires_grad=True)
        (gradient,) = torch.autograd.grad(network(x)[0, 30].sum(), x)
        touched = gradient[0].abs().sum(-1).nonzero().flatten()
        assert (int(touched[0]), int(touched[-1])) == (30 - reach, 30 + reach)


def test_decoded_codes_are_the_decoded_code_vectors() -> None:
    torch.manual_seed(0)
    model = VQVAE(6, 8, 2, 5)
    output = model(torch.randn(2, 9, 6))
    decoded = model.decode_index(output.quantized.index)
    torch.testing.assert_close(decoded, output.reconstruction, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("borders", ["zeros", "replicate"])
def test_a_pose_that_is_held_has_one_latent_if_borders_repeat_it(borders: Borders) -> None:
    torch.manual_seed(0)
    model = AutoEncoder(5, 8, 2, borders)
    pose = torch.randn(1, 1, 5).expand(-1, 40, -1)
    latents = model.encoder(pose)
    held = torch.allclose(latents, latents[:, 20:21].expand_as(latents), atol=1e-6)
    assert held is (borders == "replicate")
    output = model(pose)
    assert torch.allclose(output, output[:, 20:21].expand_as(output), atol=1e-5) is held


@pytest.mark.parametrize(
    "network", [VQVAE(6, 8, 3, 5), VQVAE(6, 8, 3, 5, "replicate"), AutoEncoder(6, 8, 4)]
)
def test_stored_auto_encoder_is_read_back_whole(
    network: VQVAE | AutoEncoder, tmp_path: Path
) -> None:
    save_auto_encoder(tmp_path, "part", network)
    loaded = load_auto_encoder(tmp_path, "part")
    assert type(loaded) is type(network)
    assert loaded.borders == network.borders
    assert not loaded.training
    assert not any(weight.requires_grad for weight in loaded.parameters())
    for key, value in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value)


@pytest.mark.parametrize("damage", ["missing", "short", "other size", "other network"])
def test_weights_that_do_not_load_are_reported_in_one_line(damage: str, tmp_path: Path) -> None:
    save_auto_encoder(tmp_path, "part", VQVAE(6, 8, 2, 5))
    weights, sizes = tmp_path / "part.safetensors", tmp_path / "part.json"
    if damage == "missing":
        weights.unlink()
    elif damage == "short":
        weights.write_bytes(weights.read_bytes()[:50])
    elif damage == "other size":
        sizes.write_text(sizes.read_text().replace('"width": 8', '"width": 9'))
    else:
        sizes.write_text(sizes.read_text().replace("VQVAE", "Generator"))
    with pytest.raises(
        InputError, match=r"part\.safetensors: expected the weights of .*part\.json"
    ):
        load_auto_encoder(tmp_path, "part")
