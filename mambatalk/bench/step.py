"""Time of a training step of the generator at the size of a profile, on random windows."""

import statistics
import time
from typing import Final

import torch
from torch import Tensor, nn

from mambatalk.config import Config
from mambatalk.console import Progress
from mambatalk.features.windows import WindowBatch, window_samples
from mambatalk.fidelity import FidelityRules
from mambatalk.motion.skeleton import MOTION_DIM, PARTS
from mambatalk.training.loop.module import Step, total
from mambatalk.training.loop.optim import build_optimizer
from mambatalk.training.modules.generator import (
    GeneratorTraining,
    build_generator,
    optim_settings,
)

VOCABULARY: Final = 400
SPEAKERS: Final = 3
WARM_UP: Final = 3


def measure_generator_step(
    config: Config, *, steps: int, device: torch.device, progress: Progress | None = None
) -> float:
    """Return the median seconds of a step: forward, backward, clipping and the optimizer.

    Args:
        config: Configuration with the sizes and the batch size.
        steps: Number of steps to measure.
        device: Where to compute.
        progress: Called after each step, those of the warm-up included.

    """
    torch.manual_seed(config.seed)
    settings = config.train_generator
    rules = FidelityRules.of(config.fidelity)
    size = config.train_vq.common.codebook_size
    width = config.train_vq.common.width
    network = build_generator(
        settings,
        vocabulary_size=VOCABULARY,
        speakers=SPEAKERS,
        codebook_size=size,
        code_dim=width,
        rules=rules,
    )
    frames = settings.batch_size * settings.window
    codes = {part: torch.randint(size, (frames,), device=device) for part in PARTS}
    codebooks = {part: torch.randn(size, width, device=device) for part in PARTS}
    module = GeneratorTraining(network, codes, codebooks, settings, rules).to(device).train()
    optimizer = build_optimizer(module, optim_settings(settings, rules))
    batch = random_batch(settings.batch_size, settings.window, device)

    seconds = []
    for number in range(WARM_UP + steps):
        start = time.perf_counter()
        loss = total(module(batch, Step(epoch=1, epochs=2, number=number)).values())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), settings.clip_norm)
        optimizer.step()
        # Reading the loss waits for the device.
        loss.item()
        seconds.append(time.perf_counter() - start)
        if progress is not None:
            progress(len(seconds), WARM_UP + steps)
    return statistics.median(seconds[WARM_UP:])


def random_batch(size: int, frames: int, device: torch.device) -> WindowBatch:
    """Return windows of random numbers, with audio, for `SPEAKERS` and `VOCABULARY`.

    Args:
        size: Number of windows.
        frames: Frames of a window.
        device: Where to create them.

    """

    def draw(*shape: int) -> Tensor:
        return torch.randn(size, *shape, device=device)

    return WindowBatch(
        motion=draw(frames, MOTION_DIM),
        expressions=draw(frames, 100),
        betas=draw(300),
        words=torch.randint(VOCABULARY, (size, frames), device=device),
        speaker_index=torch.randint(SPEAKERS, (size, 1), device=device).expand(-1, frames),
        frames=torch.arange(size, device=device) * frames,
        audio=draw(window_samples(frames), 3),
    )
