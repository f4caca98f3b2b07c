"""Parity of the generator: eight outputs under two masks."""

from collections.abc import Iterator

from mambatalk.models.generator import BODY_CHANNELS, GeneratorOutput
from mambatalk.motion.skeleton import PARTS
from mambatalk.published.building import build_generator
from mambatalk.published.fixture import Fixture, Measure


def check_generator(fixture: Fixture) -> Iterator[Measure]:
    """Both passes from one fusion."""
    generator = build_generator(fixture.state("generator"))
    audio = fixture["audio"]
    fused = generator.fuse(audio, audio[..., :BODY_CHANNELS], fixture["word"])
    for mask in ("full", "random"):
        hidden = fixture[f"mask_{mask}"]
        output = generator.forward_fused(fused, fixture["speaker"], fixture["motion"], hidden)
        yield from compare_outputs(fixture, output, mask)


def compare_outputs(fixture: Fixture, output: GeneratorOutput, where: str) -> Iterator[Measure]:
    """Latents and code logits of the four parts against the arrays under `where`."""
    for part in PARTS:
        yield fixture.close(f"{where}/rec_{part}", output.latent[part])
        yield fixture.close(f"{where}/cls_{part}", output.logits[part])

