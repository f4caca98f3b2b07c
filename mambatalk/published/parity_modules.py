"""Parity of the single networks: auto-encoders, FGD encoder, sound encoder, Mamba stacks."""

from collections.abc import Iterator

import torch

from mambatalk.published.building import (
    build_audio_encoder,
    build_auto_encoder,
    build_mamba_attention,
    build_mamba_block,
    build_mamba_scan,
    build_vqvae,
)
from mambatalk.published.fgd import build_fgd_encoder
from mambatalk.published.fixture import Fixture, Measure, compare_codes


def check_vqvae(fixture: Fixture) -> Iterator[Measure]:
    """An auto-encoder with a code book; what follows the codes runs from the settled ones."""
    model = build_vqvae(fixture.state("auto_encoder"))
    latent = model.encode(fixture["x"])
    yield fixture.close("latent", latent)
    codes = compare_codes(
        fixture.name, "index", -model.quantizer.distances(latent), fixture["index"]
    )
    yield codes.measure
    quantized = model.quantizer.quantized(latent, codes.settled)
    yield fixture.close("quantized", quantized.vectors)
    yield fixture.close("vq_loss", quantized.loss)
    yield fixture.close("perplexity", quantized.perplexity)
    yield fixture.close("reconstruction", model.decode(quantized.vectors))
    yield fixture.close("decoded_from_index", model.decode_index(fixture["index"]))


def check_global_motion(fixture: Fixture) -> Iterator[Measure]:
    """The plain auto-encoder."""
    yield fixture.close(
        "reconstruction", build_auto_encoder(fixture.state("auto_encoder"))(fixture["x"])
    )


def check_fgd_encoder(fixture: Fixture) -> Iterator[Measure]:
    """The FGD encoder, on the kinematic tree that the file names."""
    encoder = build_fgd_encoder(fixture.state("fgd"), fixture["parents"].tolist())
    yield fixture.close("latent", encoder(fixture["x"]))


def check_audio_encoder(fixture: Fixture) -> Iterator[Measure]:
    """A sound encoder."""
    yield fixture.close("y", build_audio_encoder(fixture.state("audio_encoder"))(fixture["x"]))


def check_mamba_block(fixture: Fixture) -> Iterator[Measure]:
    """One block, whole and streamed step by step."""
    block = build_mamba_block(fixture.state("mamba"))
    yield fixture.close("y", block(fixture["x"]))
    state, steps = block.initial_state(len(fixture["x"])), []
    for x in fixture["x"].split(1, dim=1):
        y, state = block.stream(x, state)
        steps.append(y)
    yield fixture.close("y, streamed", torch.cat(steps, dim=1), "y")


def check_mamba_scan(fixture: Fixture) -> Iterator[Measure]:
    """The causal stack."""
    yield fixture.close("y", build_mamba_scan(fixture.state("mamba"))(fixture["x"]))


def check_mamba_model(fixture: Fixture) -> Iterator[Measure]:
    """The stack with attention in front."""
    yield fixture.close("y", build_mamba_attention(fixture.state("mamba"))(fixture["x"]))
