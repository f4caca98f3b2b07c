"""One training step of the generator: masks, passes and losses.

A step runs the network on the same windows under two kinds of mask:

- full: everything is hidden but the first four frames, which is how synthesis starts a window;
- random: single channels are hidden, with a probability that grows from `mask_start` towards 1
  over the epochs; with `random_mask: prefix`, all frames after a random one. A short training does
  better without this mask (docs/experiments.md).

With `streaming`, the full mask shows as many frames as a stream may have generated before, and some
windows lose their audio from some frame on (docs/streaming.md).

Published training runs the random pass twice (the second was meant to leave out the words, and does
not). Corrected training can run it once with twice the weight, which differs only in the draw of
dropout. Audio and words are the same in every pass and are encoded once.

With the target `motion` the network learns the motion channels of each part, by mean squared error
under the same masks, instead of codes and their vectors.
Source: published generator trainer.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from mambatalk.config import TrainGeneratorConfig
from mambatalk.features.windows import WindowBatch
from mambatalk.fidelity import FidelityRules
from mambatalk.models.generator.conditioning import full_mask, relative_motion
from mambatalk.models.generator.network import BODY_CHANNELS, Fused, Generator, GeneratorOutput
from mambatalk.motion.parts import part_input
from mambatalk.motion.skeleton import PARTS, Part
from mambatalk.text.vocabulary import PAD
from mambatalk.training.loop.module import LossTerms, total

FULL_PARTS: tuple[Part, ...] = ("upper", "hands", "lower")
"""Parts with an index loss in the full pass. Synthesis uses only the latents of the face."""

TRUNCATED_SHARE: Final = 0.1
"""Share of the windows that lose the end of their audio in training for streams. A stream lacks it
in its first two seconds only; later windows end with what has arrived."""

LATENT_WEIGHT: Final = 3.0
"""Published weight of the latent loss, which parity compares with."""


def step_terms(
    network: Generator,
    batch: WindowBatch,
    targets: Mapping[Part, Tensor],
    codebooks: Mapping[Part, Tensor],
    config: TrainGeneratorConfig,
    *,
    mask_probability: float,
    rules: FidelityRules,
) -> LossTerms:
    """Return the loss terms of one step.

    Args:
        network: The generator, in training or evaluation mode.
        batch: Windows with audio.
        targets: Codes (B, T) of each part.
        codebooks: Code vectors (size, C) of each part.
        config: Context frames, masks, loss weights and text dropout.
        mask_probability: Probability that the random pass hides a channel of a frame.
        rules: Two random passes (published), or as many as configured (corrected).

    Returns:
        Terms of the full mask, and of the random one unless its weight is 0: `motion_full` and
        `motion_random` with the target `motion`.

    """
    motion = relative_motion(batch.motion) if rules.relative_position else batch.motion
    words = batch.words
    if rules.text_dropout and network.training:
        words = drop_text(words, config.text_dropout)
    visible: int | Tensor = config.context_frames
    arrived = None
    if config.streaming and network.training:
        visible, arrived = draw_progress(len(motion), config, motion.device)
    assert batch.audio is not None
    fused = network.fuse(batch.audio, batch.audio[..., :BODY_CHANNELS], words, arrived)

    masks = [full_mask(motion, visible)]
    if config.random_weight:
        if config.random_mask == "prefix":
            random_mask = prefix_mask(motion, config.context_frames)
        else:
            random_mask = torch.rand(motion.shape, device=motion.device) < mask_probability
        masks += [random_mask] * (config.random_passes if rules.single_random_pass else 2)
    full, *passes = run_passes(network, fused, batch.speaker_index, motion, masks)

    if not network.predicts_codes:
        channels = {
            part: part_input(part, batch.motion, batch.expressions, rules=rules) for part in PARTS
        }
        terms = {"motion_full": motion_loss(network, full, channels)}
        if passes:
            losses = [motion_loss(network, output, channels) for output in passes]
            terms["motion_random"] = config.random_weight / len(passes) * total(losses)
        return terms

    vectors = {part: codebooks[part][targets[part]] for part in PARTS}
    terms = {
        "latent_full": latent_loss(full, vectors, config.latent_weight),
        "index_full": index_loss(full, targets, FULL_PARTS),
    }
    if not passes:
        return terms
    weight = config.random_weight / len(passes)
    return {
        **terms,
        "latent_random": weight
        * total(latent_loss(output, vectors, config.latent_weight) for output in passes),
        "index_random": weight * total(index_loss(output, targets) for output in passes),
    }


def run_passes(
    network: Generator, fused: Fused, speaker: Tensor, motion: Tensor, masks: Sequence[Tensor]
) -> list[GeneratorOutput]:
    """Run one pass for each mask (B, T, 337), side by side as one larger batch.

    Args:
        network: The generator.
        fused: Features of audio and words of B windows.
        speaker: Speaker indices (B, T).
        motion: Motion (B, T, 337).
        masks: Mask of each pass, True where motion is hidden.

    Returns:
        Output of each pass.

    """
    count = len(masks)
    output = network.forward_fused(
        fused,
        speaker.repeat(count, 1),
        motion.repeat(count, 1, 1),
        torch.cat(list(masks)),
    )
    latent = {part: rows.chunk(count) for part, rows in output.latent.items()}
    logits = {part: rows.chunk(count) for part, rows in output.logits.items()}
    return [
        GeneratorOutput(
            {part: rows[k] for part, rows in latent.items()},
            {part: rows[k] for part, rows in logits.items()},
        )
        for k in range(count)
    ]


def prefix_mask(motion: Tensor, context_frames: int) -> Tensor:
    """Create a mask that hides each window's motion from a random frame on.

    Args:
        motion: Motion (B, T, 337).
        context_frames: Smallest number of visible frames; the largest is T.

    Returns:
        Boolean mask (B, T, 337), True where motion is hidden.

    """
    windows, length = motion.shape[:2]
    span = length - context_frames
    visible = context_frames + (torch.rand(windows, device=motion.device) * (span + 1)).floor()
    return full_mask(motion, visible)


def draw_progress(
    count: int, config: TrainGeneratorConfig, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Draw how far a stream has come in each window.

    Args:
        count: Number B of windows.
        config: Context frames and length of a window.
        device: Device of the result.

    Returns:
        Number of frames (B,) whose motion is known, at least those of the context, and number of
        frames (B,) whose audio has arrived: more than are known, and in most windows all.

    """
    share = torch.rand(3, count, device=device)
    visible = config.context_frames + (share[0] * (config.window - 2 * config.context_frames)).int()
    missing = (share[1] * (config.window - visible)).int()
    truncated = share[2] < TRUNCATED_SHARE
    return visible, config.window - missing * truncated


def drop_text(words: Tensor, probability: float) -> Tensor:
    """Replace the word ids (B, T) of random windows by padding.

    The network learns from these windows to work from audio alone.
    """
    dropped = torch.rand(len(words), 1, device=words.device) < probability
    return words.masked_fill(dropped, PAD)


def latent_loss(
    output: GeneratorOutput, vectors: Mapping[Part, Tensor], weight: float = LATENT_WEIGHT
) -> Tensor:
    """Return the weighted mean squared error of latents (B, T, C), summed over parts.

    Args:
        output: Output of the generator.
        vectors: Code vectors (B, T, C) of the true codes, by part.
        weight: Factor on the sum.

    """
    return total(weight * functional.mse_loss(output.latent[part], vectors[part]) for part in PARTS)


def motion_loss(
    network: Generator, output: GeneratorOutput, channels: Mapping[Part, Tensor]
) -> Tensor:
    """Return the mean squared error of motion channels, in units of their deviation, summed.

    Args:
        network: The generator, which knows the deviations.
        output: Its output.
        channels: True channels (B, T, D) by part.

    """
    losses = []
    for part in PARTS:
        error = (output.latent[part] - channels[part]) / network.channel_head(part).deviation
        losses.append(error.square().mean())
    return total(losses)


def index_loss(
    output: GeneratorOutput, codes: Mapping[Part, Tensor], parts: tuple[Part, ...] = PARTS
) -> Tensor:
    """Return the cross-entropy of codes (B, T), summed over parts.

    Args:
        output: Output of the generator.
        codes: True codes (B, T) by part.
        parts: Parts to include.

    """
    return total(
        functional.cross_entropy(output.logits[part].flatten(0, 1), codes[part].flatten())
        for part in parts
    )
