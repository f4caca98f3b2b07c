"""Training of the generator: its module, its optimizer and its data.

generator_step.py computes the loss terms of one step. The auto-encoders are frozen: codes come from
`encode_codes`, code vectors from their codebooks. Source: published generator trainer.
"""

from collections.abc import Mapping
from itertools import islice
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from mambatalk.audio.channels import FIXED_STATISTICS
from mambatalk.config import TrainGeneratorConfig
from mambatalk.errors import InputError
from mambatalk.features.store import FeatureStore
from mambatalk.features.windows import WindowBatch
from mambatalk.fidelity import PUBLISHED, FidelityRules
from mambatalk.models.generator.conditioning import full_mask, relative_motion
from mambatalk.models.generator.network import (
    BODY_CHANNELS,
    Generator,
    GeneratorConfig,
)
from mambatalk.models.mamba.compiled.load import is_available
from mambatalk.models.vq.quantizer import codebook_usage
from mambatalk.models.vq.vqvae import VQVAE
from mambatalk.motion.parts import part_input
from mambatalk.motion.skeleton import PARTS, Part
from mambatalk.training.codes import Codes
from mambatalk.training.context import TrainContext
from mambatalk.training.initialization import moments
from mambatalk.training.loop.data import TrainingData
from mambatalk.training.loop.module import LossTerms, Step, TrainingModule
from mambatalk.training.loop.optim import OptimSettings
from mambatalk.training.loop.train import Trained, train
from mambatalk.training.modules.generator_step import run_passes, step_terms

_ATTENTION: Final = SDPBackend.MATH
"""Kernel of attention: the one that keeps its weights for the backward pass. With PyTorch's choice
among the others, gradients of the motion's attention reached 1e17 and then NaN in 9 of 24 trainings
of the sample on an H200; with this one, in 0 of 16 (docs/experiments.md)."""

_MIN_DEVIATION: Final = 0.01
"""Smallest standard deviation of a motion channel, in its unit (velocities in m/s). A channel that
varies less is scaled as if it varied this much, so that noise in a constant channel does not
count."""

STATISTICS_BATCHES: Final = 16
"""Batches from which the statistics of the batch norms are computed after every epoch."""


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
    selected_by: tuple[str, ...] = ("latent_full", "index_full")

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
        if not network.predicts_codes:
            self.selected_by = ("motion_full",)

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
    def after_epoch(self, data: TrainingData, device: torch.device) -> None:
        """Recompute the statistics of the audio encoders' batch norms with the present weights.

        A training step normalises with its own batch, so its loss does not show how far the moving
        averages are from the batch. With the sample's learning rate the weights change faster than
        the moving averages follow: the validation loss rose by up to 5 for single epochs
        (docs/experiments.md).

        `torch.optim.swa_utils.update_bn` runs whole forward passes, which also need motion, and
        sets the momentum to None, which compiled norms do not support.
        """
        if not self.rules.current_statistics:
            return
        norms = [module for module in self.network.modules() if isinstance(module, nn.BatchNorm1d)]
        momenta = [norm.momentum for norm in norms]
        batches = islice(data.training_batches(0, device), STATISTICS_BATCHES)
        for number, batch in enumerate(batches, 1):
            for norm in norms:
                norm.momentum = 1 / number
            assert batch.audio is not None
            self.network.fuse(batch.audio, batch.audio[..., :BODY_CHANNELS], batch.words)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum

    @torch.no_grad()
    def measure(self, data: TrainingData, device: torch.device) -> dict[str, float]:
        """Return the perplexity of the codes of the validation windows, by part.

        Each window starts from its recorded frames, as in the full pass. `PART/perplexity` is that
        of the generator's codes, `PART/true_perplexity` that of the recording's. As in synthesis,
        the face takes the code nearest to its latent. With the rule `coherent_codes` the body's
        codes are drawn, here independently in each frame; otherwise the most likely ones are taken.
        The result is empty for a generator that does not predict codes.
        """
        if not self.network.predicts_codes:
            return {}
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
        InputError: The codes do not match the frames of the store, a split has no window, or the
            configuration is not possible with published fidelity. See also `train`.

    """
    _check_codes(codes, len(store.motion))
    if config.streaming:
        store = store.with_statistics(*FIXED_STATISTICS)
    torch.manual_seed(seed)
    device = context.device
    codebooks = {part: networks[part].quantizer.table.detach().to(device) for part in PARTS}
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
    if not network.predicts_codes:
        _fit_channels(network, data, rules, device)
    if device.type == "cpu":
        # The first call on a machine compiles for ten seconds. A training step holds signals back,
        # so within a step a stop signal would wait for that long.
        is_available()
    state = train(module, data, optim_settings(config, rules), context)
    return Trained.of(network, state)


def _fit_channels(
    network: Generator, data: TrainingData, rules: FidelityRules, device: torch.device
) -> None:
    for part in PARTS:
        channels = (
            part_input(part, batch.motion, batch.expressions, rules=rules)
            for batch in data.subsample(device)
        )
        network.channel_head(part).fit(*moments(channels, _MIN_DEVIATION))


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

    Raises:
        InputError: An option is set that does not exist with published fidelity.

    """
    if rules == PUBLISHED:
        _check_published(config)
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
            speaker=config.speaker,
            target=config.target,
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


def _check_published(config: TrainGeneratorConfig) -> None:
    if config.streaming:
        raise InputError(
            "train_generator.streaming",
            "expected false with published fidelity, found true",
            "set fidelity: corrected, or streaming: false",
        )
    if config.speaker != "added":
        raise InputError(
            "train_generator.speaker",
            f"expected added with published fidelity, found {config.speaker}",
            "set fidelity: corrected, or speaker: added",
        )
    if config.target != "codes":
        raise InputError(
            "train_generator.target",
            f"expected codes with published fidelity, found {config.target}",
            "set fidelity: corrected, or target: codes",
        )


def _check_codes(codes: Codes, frames: int) -> None:
    for part in PARTS:
        if len(codes[part]) != frames:
            raise InputError(
                f"codes of {part}",
                f"expected the features' {frames} frames, found {len(codes[part])}",
                "run the stage encode_codes again",
            )
