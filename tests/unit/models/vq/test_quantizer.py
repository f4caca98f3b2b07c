"""What all quantisers have in common, and how each of them selects codes."""

import json
from math import prod
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from torch import nn

from mambatalk.errors import InputError
from mambatalk.models.vq.quantizer import (
    ProductQuantizer,
    QuantizerKind,
    ScalarQuantizer,
    build_quantizer,
    product_sizes,
    scalar_levels,
)
from mambatalk.models.vq.storage import load_auto_encoder, save_auto_encoder
from mambatalk.models.vq.vqvae import VQVAE, ConvEncoder

KINDS: tuple[QuantizerKind, ...] = get_args(QuantizerKind)
all_kinds = pytest.mark.parametrize("kind", KINDS)


@all_kinds
def test_each_code_is_a_row_of_the_table(kind: QuantizerKind) -> None:
    torch.manual_seed(0)
    quantizer = build_quantizer(kind, 24, 6)
    assert (quantizer.kind, quantizer.size, quantizer.table.shape) == (kind, 24, (24, 6))
    latent = torch.randn(2, 50, 6)
    quantized = quantizer(latent)
    assert quantized.index.shape == (2, 50)
    assert len(quantized.index.unique()) > 4
    rows = quantizer.table[quantized.index]
    assert torch.equal(quantizer.lookup(quantizer.nearest(latent)), rows)
    torch.testing.assert_close(quantized.vectors, rows)


@all_kinds
def test_a_predicted_code_vector_is_nearest_to_its_own_code(kind: QuantizerKind) -> None:
    """A generator predicts vectors of the table, and not latents of the encoder."""
    torch.manual_seed(0)
    quantizer = build_quantizer(kind, 24, 6)
    predicted = quantizer.table[None] + 1e-4 * torch.randn(1, 24, 6)
    assert torch.equal(quantizer.distances(predicted).argmin(-1), torch.arange(24)[None])


@all_kinds
def test_the_encoder_learns_from_the_reconstruction(kind: QuantizerKind) -> None:
    torch.manual_seed(0)
    model = VQVAE(6, 8, 2, 16, quantizer=kind)
    reconstruction = model(torch.randn(2, 9, 6)).reconstruction
    (gradient,) = torch.autograd.grad(reconstruction.square().mean(), model.encoder[0].weight)
    assert gradient.abs().max() > 0


@pytest.mark.parametrize("kind", ["moving_average", "product"])
def test_the_gradient_passes_straight_through(kind: QuantizerKind) -> None:
    latent = torch.randn(2, 4, 6, requires_grad=True)
    (gradient,) = torch.autograd.grad(build_quantizer(kind, 24, 6)(latent).vectors.sum(), latent)
    assert torch.equal(gradient, torch.ones_like(latent))


def test_the_gradient_of_rounded_channels_is_that_without_rounding() -> None:
    torch.manual_seed(0)
    quantizer = ScalarQuantizer(24, 6)
    latent = torch.randn(2, 4, 6, requires_grad=True)
    weights = torch.randn(2, 4, 6)
    rounded = quantizer(latent).vectors
    smooth = quantizer.up(quantizer.down(latent).tanh())
    gradients = [
        torch.autograd.grad((vectors * weights).sum(), latent)[0] for vectors in (rounded, smooth)
    ]
    torch.testing.assert_close(*gradients)
    assert not torch.allclose(rounded, smooth, atol=1e-3)


def test_a_moving_average_is_pulled_by_no_gradient() -> None:
    quantizer = build_quantizer("moving_average", 7, 5)
    latent = torch.randn(2, 4, 5, requires_grad=True)
    assert list(quantizer.parameters()) == []
    quantized = quantizer(latent)
    distance = (latent - quantizer.lookup(quantized.index)).detach()
    (to_latents,) = torch.autograd.grad(quantized.loss, latent)
    torch.testing.assert_close(to_latents, 2 * distance / distance.numel())


@pytest.mark.parametrize("size", [5, 16, 24, 128, 256])
def test_scalar_codes_are_all_combinations_of_rounded_channels(size: int) -> None:
    torch.manual_seed(0)
    quantizer = ScalarQuantizer(size, 6)
    levels = np.array(scalar_levels(size))
    latent = 4 * torch.randn(1, 40_000, 6)
    index = quantizer.nearest(latent)[0].numpy()
    assert len(np.unique(index)) == prod(levels) == size

    bounded = quantizer.down(latent)[0].tanh().detach().numpy()
    chosen = np.stack(np.unravel_index(index, levels), axis=-1)
    error = bounded - (2 * chosen / (levels - 1) - 1)
    # At most half of a step of the channel.
    assert (np.abs(error) <= 1 / (levels - 1) + 1e-5).all()


def test_a_latent_that_is_not_a_number_has_a_code_and_spoils_its_vector() -> None:
    """The training then ends with a message about the loss, and not within the codebook."""
    quantizer = ScalarQuantizer(24, 6)
    quantized = quantizer(torch.full((1, 2, 6), torch.nan))
    assert ((quantized.index >= 0) & (quantized.index < 24)).all()
    assert quantized.vectors.isnan().all()


@pytest.mark.parametrize("size", [16, 24, 256])
def test_two_small_codebooks_find_the_nearest_of_all_combinations(size: int) -> None:
    torch.manual_seed(0)
    quantizer = ProductQuantizer(size, 6)
    for codebook in quantizer.codebooks:
        nn.init.normal_(codebook.table)
    latent = torch.randn(1, 500, 6)
    nearest = torch.cdist(latent, quantizer.table[None]).argmin(-1)
    assert torch.equal(quantizer.nearest(latent), nearest)
    for codebook, (half, codes) in zip(
        quantizer.codebooks, quantizer.split(latent, nearest), strict=True
    ):
        assert torch.equal(codebook.nearest(half), codes)


@pytest.mark.parametrize(
    ("size", "levels"),
    [
        (256, (8, 8, 4)),
        (240, (8, 6, 5)),
        (128, (8, 4, 4)),
        (64, (8, 8)),
        (24, (6, 4)),
        (16, (4, 4)),
        (5, (5,)),
    ],
)
def test_levels_are_few_and_even(size: int, levels: tuple[int, ...]) -> None:
    assert scalar_levels(size) == levels


@pytest.mark.parametrize("size", [1, 11, 127, 22])
def test_a_size_with_a_large_prime_factor_has_no_levels(size: int) -> None:
    with pytest.raises(ValueError, match=f"expected a product of numbers from 2 to 8, .* {size}"):
        scalar_levels(size)


@pytest.mark.parametrize(
    ("size", "sizes"), [(256, (16, 16)), (128, (16, 8)), (64, (8, 8)), (24, (6, 4)), (10, (5, 2))]
)
def test_two_codebooks_are_as_even_as_the_size_allows(size: int, sizes: tuple[int, int]) -> None:
    assert product_sizes(size) == sizes


@pytest.mark.parametrize("size", [0, 1, 2, 127])
def test_a_size_that_is_not_a_product_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"expected a product of two numbers, .* found {size}"):
        product_sizes(size)


@all_kinds
def test_a_stored_quantizer_is_read_back_whole(kind: QuantizerKind, tmp_path: Path) -> None:
    """With more codes than any tensor has rows, which is what a table of combinations can have."""
    torch.manual_seed(0)
    network = VQVAE(6, 8, 2, 128, quantizer=kind).eval()
    save_auto_encoder(tmp_path, "part", network)
    loaded = load_auto_encoder(tmp_path, "part")
    assert loaded.quantizer.kind == kind
    assert not loaded.quantizer.table.requires_grad
    assert torch.equal(loaded.quantizer.table, network.quantizer.table)
    x = torch.randn(2, 30, 6)
    before, after = network(x), loaded(x)
    assert torch.equal(before.quantized.index, after.quantized.index)
    assert torch.equal(before.reconstruction, after.reconstruction)


@all_kinds
def test_an_absurd_number_of_stored_codes_is_refused(kind: QuantizerKind, tmp_path: Path) -> None:
    save_auto_encoder(tmp_path, "part", VQVAE(6, 8, 2, 16, quantizer=kind))
    path = tmp_path / "part.json"
    description = json.loads(path.read_text())
    description["sizes"]["codebook_size"] = 2**40
    path.write_text(json.dumps(description))
    with pytest.raises(InputError, match=f"codebook_size is {2**40}"):
        load_auto_encoder(tmp_path, "part")


def test_an_unknown_kind_in_a_file_is_refused(tmp_path: Path) -> None:
    save_auto_encoder(tmp_path, "part", VQVAE(6, 8, 2, 16, quantizer="scalar"))
    path = tmp_path / "part.json"
    path.write_text(path.read_text().replace("scalar", "vector"))
    with pytest.raises(InputError, match=r"part\.json.*found 'vector'"):
        load_auto_encoder(tmp_path, "part")


def test_a_learned_codebook_has_the_file_and_the_first_weights_of_earlier_versions(
    tmp_path: Path,
) -> None:
    torch.manual_seed(0)
    save_auto_encoder(tmp_path, "part", VQVAE(6, 8, 2, 16))
    assert json.loads((tmp_path / "part.json").read_text())["sizes"] == {
        "dim": 6,
        "width": 8,
        "layers": 2,
        "borders": "zeros",
        "codebook_size": 16,
    }
    loaded = load_auto_encoder(tmp_path, "part")
    keys = [key for key in loaded.state_dict() if key.startswith("quantizer")]
    assert keys == ["quantizer.embedding.weight"]

    # Drawn after the encoder: the embedding's own normal draws, then uniform ones over them.
    torch.manual_seed(0)
    ConvEncoder(6, 8, 2)
    expected = nn.init.uniform_(nn.Embedding(16, 8).weight, -1 / 16, 1 / 16)
    assert torch.equal(loaded.quantizer.table, expected)
