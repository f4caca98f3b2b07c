"""Training of the generator.

A step runs the network on the same windows under two kinds of mask:

- full: everything is hidden but the first four frames, which is how synthesis starts a window;
- random: single channels are hidden, with a probability that grows from 5 % to 100 % over the
  epochs; with `random_mask: prefix`, all frames after a random one. A short training does better
  without it (docs/experiments.md).

With `streaming`, the full mask shows as many frames as a stream may have generated before, and some
windows lose their audio from some frame on (docs/streaming.md).

Published training runs the random pass twice (the second was meant to leave out the words, and does
not). Corrected training runs it once with twice the weight, which is the same but for the draw of
dropout. Audio and words are the same in every pass and are encoded once. The auto-encoders are
frozen: codes come from `encode_codes`, code vectors from their codebooks. Source: published
generator trainer.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from mambatalk.audio.channels import FIXED_STATISTICS
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
from mambatalk.models.vq.quantizer import codebook_usage
from mambatalk.models.vq.vqvae import VQVAE
from mambatalk.motion.skeleton import PARTS, Part
from mambatalk.text.vocabulary import PAD
from mambatalk.training.codes import Codes
from mambatalk.training.context import TrainContext
from mambatalk.training.loop.data import TrainingData
from mambatalk.training.loop.module import LossTerms, Step, TrainingModule, total
from mambatalk.training.loop.optim import OptimSettings
from mambatalk.training.loop.train import Trained, train

FULL_PARTS: tuple[Part, ...] = ("upper", "hands", "lower")
"""Parts with an index loss in the full pass. Synthesis uses only the latents of the face."""


TRUNCATED_SHARE: Final = 0.1
"""Share of the windows that lose the end of their audio in training for streams. A stream lacks it
in its first two seconds only; later windows end with what has arrived.
"""
_ATTENTION: Final = [
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.MATH,
]
"""Kernels of attention. Not cuDNN's: in bfloat16 its backward pass gave the attention among speaker
embeddings gradients of NaN within 60 steps at full size (H200, torch 2.11)."""
LATENT_WEIGHT: Final = 3.0
"""Published weight of the latent loss, which parity compares with."""


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


class GeneratorTraining(TrainingModule):
    """The generator with its losses, over cached codes.

    Args:
        network: The generator.
        codes: Codes (N,) of each part over the frames of the feature store, on the device.
        codebooks: Code vectors (size, C) of each part, on the device.
        config: The section `train_generator` of the configuration.
        rules: Published or corrected training step.

    """

    capturable = True
    # The random mask hides more in every epoch. Synthesis starts a window from the full one.
    selected_by = ("latent_full", "index_full")

    def __init__(
        self,
        network: Generator,
        codes: Mapping[Part, Tensor],
        codebooks: Mapping[Part, Tensor],
        config: TrainGeneratorConfig,
        rules: FidelityRules,
    ) -> None:
        super().__init__("train_generator")
        self.network = network
        self.config = config
        self.rules = rules
        # Constant inputs, not buffers: DDP would broadcast the codes of the corpus at every step.
        self.codes = dict(codes)
        self.codebooks = dict(codebooks)

    def forward(self, batch: WindowBatch, step: Step) -> LossTerms:
        """Return the loss terms of both kinds of mask.

        On a GPU training computes products and convolutions in bfloat16; the scan, the norms'
        statistics and the losses stay in single precision.
        """
        half = self.training and batch.motion.is_cuda
        with torch.autocast("cuda", torch.bfloat16, enabled=half), sdpa_kernel(_ATTENTION):
            return self._terms(batch, step)

    def _terms(self, batch: WindowBatch, step: Step) -> LossTerms:
        offsets = torch.arange(self.config.window, device=batch.frames.device)
        frames = batch.frames[:, None] + offsets
        targets = {part: self.codes[part][frames].long() for part in PARTS}
        start = self.config.mask_start
        return step_terms(
            self.network,
            batch,
            targets,
            self.codebooks,
            self.config,
            mask_probability=start + (1 - start) * step.epoch / step.epochs,
            rules=self.rules,
        )

    @torch.no_grad()
    def measure(self, data: TrainingData, device: torch.device) -> dict[str, float]:
        """Return the perplexity of the codes of the validation windows, by part.

        Each window starts from its recorded frames, as in the full pass. `PART/perplexity` is that
        of the generator's codes, `PART/true_perplexity` that of the recording's. As in synthesis,
        the face takes the code nearest to its latent. With the rule `coherent_codes` the body's
        codes are drawn, here in each frame by itself, and otherwise the most likely ones are taken.
        """
        random = torch.Generator(device).manual_seed(data.seed)
        found: dict[Part, list[Tensor]] = {part: [] for part in PARTS}
        true: dict[Part, list[Tensor]] = {part: [] for part in PARTS}
        offsets = torch.arange(self.config.window, device=device)
        for batch in data.validation_batches(device):
            assert batch.audio is not None
            visible = (
                relative_motion(batch.motion) if self.rules.relative_position else batch.motion
            )
            fused = self.network.fuse(batch.audio, batch.audio[..., :BODY_CHANNELS], batch.words)
            mask = full_mask(visible, self.config.context_frames)
            (output,) = run_passes(self.network, fused, batch.speaker_index, visible, [mask])
            frames = batch.frames[:, None] + offsets
            for part in PARTS:
                logits = output.logits[part].flatten(0, 1)
                if part == "face":
                    chosen = torch.cdist(output.latent[part], self.codebooks[part]).argmin(-1)
                elif self.rules.coherent_codes:
                    chosen = logits.softmax(-1).multinomial(1, generator=random)
                else:
                    chosen = logits.argmax(-1)
                found[part].append(chosen.flatten())
                true[part].append(self.codes[part][frames].long().flatten())
        measures = {}
        for part in PARTS:
            size = len(self.codebooks[part])
            for name, codes in (("perplexity", found), ("true_perplexity", true)):
                usage = codebook_usage(torch.cat(codes[part]), size)
                measures[f"{part}/{name}"] = usage["perplexity"]
        return measures


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
    context: TrainContext,
) -> Trained[Generator]:
    """Train a generator on cached codes.

    Args:
        store: Features.
        codes: Codes of all frames of the store.
        networks: The auto-encoders that made the codes; they are not changed.
        config: The section `train_generator` of the configuration.
        vocabulary_size: Number of word ids.
        speakers: Number of speaker indices.
        rules: Published or corrected training step.
        seed: Seed for initial weights, order of windows and random draws.
        context: Device, scratch folder and tracker.

    Raises:
        InputError: The codes are not those of the store, or published training is to serve streams.

    """
    _check_codes(codes, len(store.motion))
    if config.streaming:
        if not rules.relative_position:
            raise InputError(
                "train_generator.streaming",
                "expected false with published fidelity, found true",
                "set fidelity: corrected, or streaming: false",
            )
        store = store.with_statistics(*FIXED_STATISTICS)
    torch.manual_seed(seed)
    device = context.device
    codebooks = {
        part: networks[part].quantizer.embedding.weight.detach().to(device) for part in PARTS
    }
    codebook_size, code_dim = codebooks["upper"].shape
    network = build_generator(
        config,
        vocabulary_size=vocabulary_size,
        speakers=speakers,
        codebook_size=codebook_size,
        code_dim=code_dim,
        rules=rules,
    )
    module = GeneratorTraining(
        network,
        {part: torch.from_numpy(codes[part]).to(device) for part in PARTS},
        codebooks,
        config,
        rules,
    )
    data = TrainingData.from_store(
        store,
        length=config.window,
        stride=config.stride,
        audio=True,
        rules=rules,
        batch_size=config.batch_size,
        seed=seed,
    )
    state = train(module, data, optim_settings(config, rules), context)
    return Trained.of(network, state)


def build_generator(
    config: TrainGeneratorConfig,
    *,
    vocabulary_size: int,
    speakers: int,
    codebook_size: int,
    code_dim: int,
    rules: FidelityRules,
) -> Generator:
    """Build a new generator of the configured size.

    Args:
        config: The section `train_generator` of the configuration.
        vocabulary_size: Number of word ids.
        speakers: Number of speaker indices.
        codebook_size: Codes of each auto-encoder.
        code_dim: Channels of a code vector.
        rules: Published or corrected attention to the audio.

    """
    return Generator(
        GeneratorConfig(
            vocabulary_size=vocabulary_size,
            speakers=speakers,
            hidden=config.hidden,
            audio_dim=config.audio_dim,
            audio_width=config.audio_width,
            word_dim=config.word_dim,
            motion_dim=code_dim,
            code_dim=code_dim,
            codebook_size=codebook_size,
            dropout=config.dropout,
            aligned=rules.time_aligned_attention,
            global_scan=config.global_scan,
            local_scan=config.local_scan,
            use_words=config.use_words,
            streaming=config.streaming,
        )
    )


def optim_settings(config: TrainGeneratorConfig, rules: FidelityRules) -> OptimSettings:
    """Return the optimizer's settings of a generator."""
    return OptimSettings(
        epochs=config.epochs,
        lr=config.lr,
        betas=config.betas,
        clip_norm=config.clip_norm,
        select=config.select if rules.best_epoch else "last",
        patience=config.patience,
        fused=True,
    )


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
        config: Context frames, loss weights and text dropout.
        mask_probability: Probability that the random pass hides a channel of a frame.
        rules: Random pass run twice (published), or once with twice the weight (corrected).

    Returns:
        Terms of the full mask, and of the random one unless its weight is 0.

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
    latent = {part: output.latent[part].chunk(count) for part in PARTS}
    logits = {part: output.logits[part].chunk(count) for part in PARTS}
    return [
        GeneratorOutput(
            {part: latent[part][k] for part in PARTS}, {part: logits[part][k] for part in PARTS}
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

    Returns:
        Number of frames (B,) whose motion is known, at least those of the context, and of frames
        whose audio has arrived, at least one more: all in most windows.

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


def _check_codes(codes: Codes, frames: int) -> None:
    for part in PARTS:
        if len(codes[part]) != frames:
            raise InputError(
                f"codes of {part}",
                f"expected the features' {frames} frames, found {len(codes[part])}",
                "run the stage encode_codes again",
            )
