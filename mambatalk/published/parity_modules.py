"""Parity of single networks: auto-encoders, FGD and audio encoders, Mamba stacks, generator."""

from collections.abc import Iterator

import torch

from mambatalk.models.generator.local_scan import BODY_PARTS
from mambatalk.models.generator.network import BODY_CHANNELS
from mambatalk.motion.skeleton import PARTS
from mambatalk.published.building import (
    build_audio_encoder,
    build_auto_encoder,
    build_generator,
    build_mamba_attention,
    build_mamba_block,
    build_mamba_scan,
    build_vqvae,
)
from mambatalk.published.fgd import build_fgd_encoder
from mambatalk.published.fixture import Fixture, Measure, compare_codes
from mambatalk.training.modules.generator_step import index_loss, latent_loss


def check_vqvae(fixture: Fixture) -> Iterator[Measure]:
    """Compare an auto-encoder with a codebook; after the codes, near ties are resolved."""
    model = build_vqvae(fixture.state("auto_encoder"))
    latent = model.encode(fixture["x"])
    yield fixture.close("latent", latent)
    codes = compare_codes(
        fixture.name, "index", -model.quantizer.distances(latent), fixture["index"]
    )
    yield codes.measure
    quantized = model.quantizer.quantized(latent, codes.resolved)
    yield fixture.close("quantized", quantized.vectors)
    yield fixture.close("vq_loss", quantized.loss)
    yield fixture.close("perplexity", quantized.perplexity)
    yield fixture.close("reconstruction", model.decode(quantized.vectors))
    yield fixture.close("decoded_from_index", model.decode_index(fixture["index"]))


def check_global_motion(fixture: Fixture) -> Iterator[Measure]:
    """Compare the auto-encoder without a codebook."""
    yield fixture.close(
        "reconstruction", build_auto_encoder(fixture.state("auto_encoder"))(fixture["x"])
    )


def check_fgd_encoder(fixture: Fixture) -> Iterator[Measure]:
    """Compare the FGD encoder, on the kinematic tree in the file."""
    encoder = build_fgd_encoder(fixture.state("fgd"), fixture["parents"].tolist())
    yield fixture.close("latent", encoder(fixture["x"]))


def check_audio_encoder(fixture: Fixture) -> Iterator[Measure]:
    """Compare an audio encoder."""
    yield fixture.close("y", build_audio_encoder(fixture.state("audio_encoder"))(fixture["x"]))


def check_mamba_block(fixture: Fixture) -> Iterator[Measure]:
    """Compare one block, in one call and step by step."""
    block = build_mamba_block(fixture.state("mamba"))
    yield fixture.close("y", block(fixture["x"]))
    state = block.initial_state(len(fixture["x"]))
    steps = []
    for x in fixture["x"].split(1, dim=1):
        y, state = block.stream(x, state)
        steps.append(y)
    yield fixture.close("y, streamed", torch.cat(steps, dim=1), "y")


def check_mamba_scan(fixture: Fixture) -> Iterator[Measure]:
    """Compare the causal stack."""
    yield fixture.close("y", build_mamba_scan(fixture.state("mamba"))(fixture["x"]))


def check_mamba_model(fixture: Fixture) -> Iterator[Measure]:
    """Compare the stack with attention in front."""
    yield fixture.close("y", build_mamba_attention(fixture.state("mamba"))(fixture["x"]))


def check_generator(fixture: Fixture) -> Iterator[Measure]:
    """Compare outputs and losses under two masks; the full mask has no index loss on the face."""
    generator = build_generator(fixture.state("generator"))
    audio = fixture["audio"]
    fused = generator.fuse(audio, audio[..., :BODY_CHANNELS], fixture["word"])
    codes = {part: fixture[f"code/{part}"] for part in PARTS}
    targets = {part: fixture[f"latent/{part}"] for part in PARTS}
    for mask, parts in (("full", BODY_PARTS), ("random", PARTS)):
        hidden = fixture[f"mask_{mask}"]
        output = generator.forward_fused(fused, fixture["speaker"], fixture["motion"], hidden)
        for part in PARTS:
            yield fixture.close(f"{mask}/rec_{part}", output.latent[part])
            yield fixture.close(f"{mask}/cls_{part}", output.logits[part])
        yield fixture.close(f"loss_latent_{mask}", latent_loss(output, targets))
        yield fixture.close(f"loss_index_{mask}", index_loss(output, codes, parts))
