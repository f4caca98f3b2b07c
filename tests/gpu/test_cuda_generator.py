"""The whole generator on CUDA against the CPU, both directions, at small and at full size."""

import pytest
import torch

from mambatalk.models.generator.network import BODY_CHANNELS, Generator, GeneratorConfig
from mambatalk.motion.skeleton import MOTION_DIM, PARTS

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
# Eight layers of attention and five scans deep, each of which is held to 1e-5 by itself.
FORWARD_BAR, GRADIENT_BAR = 1e-4, 1e-4
SMALL = GeneratorConfig(
    vocabulary_size=40,
    hidden=64,
    audio_dim=64,
    audio_width=8,
    word_dim=32,
    motion_dim=32,
    code_dim=32,
    codebook_size=48,
)
FULL = GeneratorConfig(vocabulary_size=11195)


@pytest.fixture(autouse=True)
def _full_precision(monkeypatch):
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def window(config, batch=2, frames=64):
    generator = torch.Generator().manual_seed(0)
    wave = torch.randn(batch, 34133, 3, generator=generator)
    words = torch.randint(config.vocabulary_size, (batch, frames), generator=generator)
    speaker = torch.randint(config.speakers, (batch, 1), generator=generator).expand(batch, frames)
    motion = torch.randn(batch, frames, MOTION_DIM, generator=generator)
    mask = torch.rand(batch, frames, MOTION_DIM, generator=generator) < 0.5
    return wave, wave[..., :BODY_CHANNELS], words, speaker, motion, mask


def run(generator, inputs):
    """Latents and logits in one row, and all gradients in another, in double precision on the
    CPU.
    """
    output = generator(*inputs)
    numbers = torch.cat([part[name].flatten() for part in output for name in PARTS])
    weights = torch.linspace(-1, 1, len(numbers), device=numbers.device)
    gradients = torch.autograd.grad((numbers * weights).sum(), [*generator.parameters()])
    return numbers.detach().double().cpu(), torch.cat(
        [g.flatten() for g in gradients]
    ).double().cpu()


@pytest.mark.parametrize("config", [SMALL, FULL], ids=["small", "full"])
def test_generator_on_cuda_is_the_one_on_the_cpu(config):
    torch.manual_seed(0)
    generator, inputs = Generator(config).eval(), window(config)
    cpu = run(generator, inputs)
    cuda = run(generator.cuda(), [x.cuda() for x in inputs])
    assert (cuda[0] - cpu[0]).abs().max() / cpu[0].abs().max() <= FORWARD_BAR
    assert (cuda[1] - cpu[1]).norm() / cpu[1].norm() <= GRADIENT_BAR


def test_half_precision_stays_near_and_trains():
    torch.manual_seed(0)
    generator, inputs = Generator(SMALL).eval().cuda(), [x.cuda() for x in window(SMALL)]
    exact = run(generator, inputs)
    with torch.autocast("cuda", torch.bfloat16):
        half = run(generator, inputs)
    assert (half[0] - exact[0]).norm() / exact[0].norm() <= 0.05
    assert half[1].isfinite().all()
    assert torch.nn.functional.cosine_similarity(half[1], exact[1], dim=0) >= 0.95
