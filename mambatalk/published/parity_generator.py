"""Parity of the generator: eight outputs under two masks, and the four loss terms."""

from collections.abc import Iterator

from mambatalk.models.generator.local_scan import BODY_PARTS
from mambatalk.models.generator.network import BODY_CHANNELS, GeneratorOutput
from mambatalk.motion.skeleton import PARTS
from mambatalk.published.building import build_generator
from mambatalk.published.fixture import Fixture, Measure
from mambatalk.training.modules.generator import index_loss, latent_loss


def check_generator(fixture: Fixture) -> Iterator[Measure]:
    """Both passes from one fusion; the fully hidden one has no index loss on the face."""
    generator = build_generator(fixture.state("generator"))
    audio = fixture["audio"]
    fused = generator.fuse(audio, audio[..., :BODY_CHANNELS], fixture["word"])
    codes = {part: fixture[f"code/{part}"] for part in PARTS}
    targets = {part: fixture[f"latent/{part}"] for part in PARTS}
    for mask, parts in (("full", BODY_PARTS), ("random", PARTS)):
        hidden = fixture[f"mask_{mask}"]
        output = generator.forward_fused(fused, fixture["speaker"], fixture["motion"], hidden)
        yield from compare_outputs(fixture, output, mask)
        yield fixture.close(f"loss_latent_{mask}", latent_loss(output, targets))
        yield fixture.close(f"loss_index_{mask}", index_loss(output, codes, parts))


def compare_outputs(fixture: Fixture, output: GeneratorOutput, where: str) -> Iterator[Measure]:
    """Latents and code logits of the four parts against the arrays under `where`."""
    for part in PARTS:
        yield fixture.close(f"{where}/rec_{part}", output.latent[part])
        yield fixture.close(f"{where}/cls_{part}", output.logits[part])
