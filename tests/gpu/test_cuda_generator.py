"""The whole generator on CUDA against the CPU, outputs and gradients, at small and full size."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mambatalk.models.generator.network import BODY_CHANNELS, Generator, GeneratorConfig
from mambatalk.motion.skeleton import MOTION_DIM, PARTS

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.usefixtures("full_precision"),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

# The network has eight layers of attention and five scans, each of which agrees to 1e-5 by itself.
FORWARD_BAR = 1e-4
GRADIENT_BAR = 1e-4

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


def _random_window(config: GeneratorConfig, batch: int = 2, frames: int = 64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    wave = torch.randn(batch, 34133, 3, generator=generator)
    words = torch.randint(config.vocabulary_size, (batch, frames), generator=generator)
    speaker = torch.randint(config.speakers, (batch, 1), generator=generator).expand(batch, frames)
    motion = torch.randn(batch, frames, MOTION_DIM, generator=generator)
    mask = torch.rand(batch, frames, MOTION_DIM, generator=generator) < 0.5
    return [wave, wave[..., :BODY_CHANNELS], words, speaker, motion, mask]


def _outputs_and_gradients(generator: Generator, inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Run forward and backward.

    Returns:
        All latents and logits in one vector, and all gradients in another, in double precision on
        the CPU.

    """
    output = generator(*inputs)
    numbers = torch.cat([part[name].flatten() for part in output for name in PARTS])
    weights = torch.linspace(-1, 1, len(numbers), device=numbers.device)
    gradients = torch.autograd.grad((numbers * weights).sum(), [*generator.parameters()])
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    return numbers.detach().double().cpu(), flat.double().cpu()


@pytest.mark.parametrize("config", [SMALL, FULL], ids=["small", "full"])
def test_generator_gives_the_same_results_on_cuda_and_cpu(config: GeneratorConfig) -> None:
    torch.manual_seed(0)
    generator = Generator(config).eval()
    inputs = _random_window(config)
    cpu_output, cpu_gradients = _outputs_and_gradients(generator, inputs)

    cuda_inputs = [x.cuda() for x in inputs]
    cuda_output, cuda_gradients = _outputs_and_gradients(generator.cuda(), cuda_inputs)
    assert (cuda_output - cpu_output).abs().max() / cpu_output.abs().max() <= FORWARD_BAR
    assert (cuda_gradients - cpu_gradients).norm() / cpu_gradients.norm() <= GRADIENT_BAR


def test_bfloat16_stays_close_to_single_precision_and_has_finite_gradients() -> None:
    torch.manual_seed(0)
    generator = Generator(SMALL).eval().cuda()
    inputs = [x.cuda() for x in _random_window(SMALL)]
    exact_output, exact_gradients = _outputs_and_gradients(generator, inputs)
    with torch.autocast("cuda", torch.bfloat16):
        half_output, half_gradients = _outputs_and_gradients(generator, inputs)

    assert (half_output - exact_output).norm() / exact_output.norm() <= 0.05
    assert half_gradients.isfinite().all()
    assert functional.cosine_similarity(half_gradients, exact_gradients, dim=0) >= 0.95
