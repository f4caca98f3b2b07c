"""The generator's training step.

A step runs the network over the same windows under two kinds of mask. Full: everything is hidden
but the first four frames, which is how synthesis starts a window. Random: single channels are
hidden with a probability that grows from 5 % to 100 % over the epochs. Published, the random pass
is run twice (its second copy was meant to leave out the words, and does not); corrected runs it
once with twice the weight, the same but for the draw of dropout. What sound and words give is the
same in every pass and computed once. The auto-encoders are frozen: codes come from `encode_codes`,
code vectors from their code books. Source: published generator trainer.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mambatalk.config import TrainGeneratorConfig
from mambatalk.errors import InputError
from mambatalk.features.store import FeatureStore
from mambatalk.features.windows import WindowBatch
from mambatalk.fidelity import FidelityRules
from mambatalk.models.generator.conditioning import full_mask, relative_motion
from mambatalk.models.generator.network import (
    BODY_CHANNELS,
    Fused,
    Generator,
    GeneratorConfig,
    GeneratorOutput,
)
from mambatalk.models.vq.vqvae import VQVAE
from mambatalk.motion.skeleton import PARTS, Part
from mambatalk.runtime import device
from mambatalk.text.vocabulary import PAD
from mambatalk.training.codes import Codes
from mambatalk.training.loop import Schedule, Trained, Windows, fit
from mambatalk.training.losses import index_loss, latent_loss, total
from mambatalk.training.tracker import Curve, Tracker

FULL_PARTS: tuple[Part, ...] = ("upper", "hands", "lower")
"""Parts whose codes the full pass is held to; the face's latents alone are used in synthesis."""


def train_generator(
    store: FeatureStore,
    codes: Codes,
    networks: Mapping[Part, VQVAE],
    config: TrainGeneratorConfig,
    *,
    vocabulary_size: int,
    speakers: int,
    rules: FidelityRules,
    seed: int,
    tracker: Tracker,
) -> Trained[Generator]:
    """Train a generator on cached codes."""
    torch.manual_seed(seed)
    books = {
        part: networks[part].quantizer.embedding.weight.detach().to(device()) for part in PARTS
    }
    size, width = books["upper"].shape
    network = Generator(
        GeneratorConfig(
            vocabulary_size=vocabulary_size,
            speakers=speakers,
            hidden=config.hidden,
            audio_dim=config.audio_dim,
            audio_width=config.audio_width,
            word_dim=config.word_dim,
            motion_dim=width,
            code_dim=width,
            codebook_size=size,
            dropout=config.dropout,
            aligned=rules.time_aligned_attention,
        )
    ).to(device())
    data = Windows.of(store, length=config.window, stride=config.stride, audio=True, rules=rules)
    _check_codes(codes, len(store.motion))
    schedule = Schedule(
        epochs=config.epochs,
        batch_size=config.batch_size,
        lr=config.lr,
        betas=config.betas,
        seed=seed,
        clip_norm=config.clip_norm,
    )
    flat = {part: torch.from_numpy(codes[part]).to(device()) for part in PARTS}

    def terms(batch: WindowBatch, epoch: int) -> dict[str, Tensor]:
        frames = batch.frames[:, None] + torch.arange(config.window, device=batch.frames.device)
        targets = {part: flat[part][frames].long() for part in PARTS}
        probability = 0.05 + 0.95 * epoch / config.epochs
        return step_terms(
            network, batch, targets, books, config, mask_probability=probability, rules=rules
        )

    curve = Curve(tracker)
    fit("train_generator", network, terms, data, schedule, curve)
    last = {
        key.removeprefix("val/"): value
        for key, value in curve.rows[-1].items()
        if key.startswith("val/")
    }
    return Trained(network, last, curve)


def step_terms(
    network: Generator,
    batch: WindowBatch,
    targets: Mapping[Part, Tensor],
    books: Mapping[Part, Tensor],
    config: TrainGeneratorConfig,
    *,
    mask_probability: float,
    rules: FidelityRules,
) -> dict[str, Tensor]:
    """Loss terms of one step: a full pass, and a random pass run twice (published) or weighted
    twice (corrected).
    """
    vectors = {part: books[part][targets[part]] for part in PARTS}
    words = (
        drop_text(batch.words, config.text_dropout)
        if rules.text_dropout and network.training
        else batch.words
    )
    motion = relative_motion(batch.motion) if rules.relative_position else batch.motion
    assert batch.audio is not None
    fused = network.fuse(batch.audio, batch.audio[..., :BODY_CHANNELS], words)
    random = torch.rand(motion.shape, device=motion.device) < mask_probability
    masks = [
        full_mask(motion, config.context_frames),
        *[random] * (1 if rules.single_random_pass else 2),
    ]
    full, *passes = run_passes(network, fused, batch.speaker, motion, masks)
    weight = 2 / len(passes)
    return {
        "latent_full": latent_loss(full, vectors),
        "index_full": index_loss(full, targets, FULL_PARTS),
        "latent_random": weight * total(latent_loss(output, vectors) for output in passes),
        "index_random": weight * total(index_loss(output, targets) for output in passes),
    }


def run_passes(
    network: Generator, fused: Fused, speaker: Tensor, motion: Tensor, masks: Sequence[Tensor]
) -> list[GeneratorOutput]:
    """One output for each mask (B, T, 337): the passes go through the network side by side, as one
    larger batch.
    """
    count = len(masks)
    output = network.forward_fused(
        Fused(*(branch.repeat(count, 1, 1) for branch in fused)),
        speaker.repeat(count, 1),
        motion.repeat(count, 1, 1),
        torch.cat(list(masks)),
    )
    latent = {part: output.latent[part].chunk(count) for part in PARTS}
    logits = {part: output.logits[part].chunk(count) for part in PARTS}
    return [
        GeneratorOutput(
            {part: latent[part][k] for part in PARTS}, {part: logits[part][k] for part in PARTS}
        )
        for k in range(count)
    ]


def drop_text(words: Tensor, probability: float) -> Tensor:
    """Word ids (B, T) with whole windows turned to silence, so that the network also learns to go
    by sound alone.
    """
    dropped = torch.rand(len(words), 1, device=words.device) < probability
    return torch.where(dropped, PAD, words)


def _check_codes(codes: Codes, frames: int) -> None:
    for part in PARTS:
        if len(codes[part]) != frames:
            raise InputError(
                f"codes of {part}",
                f"expected the features' {frames}, found {len(codes[part])} frames",
                "run the stage encode_codes again",
            )
