"""Training of the five motion auto-encoders. They are trained independently of each other."""

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn

from mambatalk.config import VQCommonConfig, VQPartConfig
from mambatalk.features.store import FeatureStore
from mambatalk.features.windows import WindowBatch
from mambatalk.fidelity import FidelityRules
from mambatalk.models.vq.quantizer import Quantizer, code_shares
from mambatalk.models.vq.vqvae import VQVAE, AutoEncoder, Borders
from mambatalk.motion.body import Body
from mambatalk.motion.parts import part_input
from mambatalk.motion.skeleton import PART_DIMS, Part
from mambatalk.motion.skeleton import AutoEncoder as Name
from mambatalk.training.context import TrainContext
from mambatalk.training.initialization import data_dependent_init
from mambatalk.training.loop.data import TrainingData
from mambatalk.training.loop.distributed import (
    copy_from_first,
    gather_rows,
    mean_over_processes,
)
from mambatalk.training.loop.module import LossTerms, Step, TrainingModule
from mambatalk.training.loop.optim import OptimSettings
from mambatalk.training.loop.train import Trained, train
from mambatalk.training.modules.measures import measure_global, measure_vqvae
from mambatalk.training.modules.part_losses import PartLoss


class DeadCodeRevival(nn.Module):
    """Track how often each code is used, and move dead codes onto latents of the batch.

    Published training ignores dead codes; most of a codebook can then stay unused from the first
    epoch on.

    Args:
        quantizer: The codebook whose size and width the statistics have.
        dead_share: A code is dead if its share of all frames is below this multiple of the uniform
            share, 1 / size.
        momentum: Weight of the past in the moving average of the shares, per step.

    """

    shares: Tensor
    """(size,) moving average of each code's share of all frames."""
    latents: Tensor
    """(N, C) latents of the last training batch."""
    codes: Tensor
    """(N,) their codes."""

    def __init__(self, quantizer: Quantizer, *, dead_share: float, momentum: float) -> None:
        super().__init__()
        size, width = quantizer.embedding.weight.shape
        self.dead_share = dead_share
        self.momentum = momentum
        self.register_buffer("shares", torch.full((size,), 1 / size))
        self.register_buffer("latents", torch.empty(0, width), persistent=False)
        self.register_buffer("codes", torch.empty(0, dtype=torch.long), persistent=False)

    def forward(self, latents: Tensor, codes: Tensor) -> None:
        """Keep the latents (B, T, C) and codes (B, T) of a training batch for `revive`."""
        self.latents = latents.detach().flatten(0, 1)
        self.codes = codes.flatten()

    @torch.no_grad()
    def revive(self, quantizer: Quantizer) -> Tensor:
        """Update the shares with the last batch and move dead codes; return how many were moved."""
        size = len(self.shares)
        share = mean_over_processes(code_shares(self.codes, size))
        latents = gather_rows(self.latents)
        self.shares.mul_(self.momentum).add_(share, alpha=1 - self.momentum)

        # Masks instead of lists of dead codes: the length of a list would have to be read from the
        # GPU. The k-th dead code moves to the k-th of the latents in random order.
        order = torch.randperm(len(latents), device=latents.device)
        dead = self.shares < self.dead_share / size
        place = dead.cumsum(0) - 1
        # No more codes can move than there are latents to move them to.
        dead &= place < len(latents)
        moved = latents[order[place.clamp(0, len(latents) - 1)]]
        weight = quantizer.embedding.weight
        weight.copy_(torch.where(dead.unsqueeze(-1), moved, weight))
        # Each process has chosen others.
        copy_from_first(weight)
        self.shares.masked_fill_(dead, 1 / size)
        return dead.sum()


class AutoEncoderTraining(TrainingModule):
    """One auto-encoder with its losses, and for a VQ-VAE the revival of dead codes.

    Args:
        network: The auto-encoder of `loss.part`.
        loss: Reconstruction terms, on the network's device.
        rules: Published or corrected inputs.
        revival: If None, dead codes stay where they are.
        revival_end: Epoch from which codes are no longer revived.

    """

    capturable = True

    def __init__(
        self,
        network: VQVAE | AutoEncoder,
        loss: PartLoss,
        *,
        rules: FidelityRules,
        revival: DeadCodeRevival | None,
        revival_end: int,
    ) -> None:
        super().__init__(f"train_vq@{loss.part}")
        self.network = network
        self.loss = loss
        self.rules = rules
        self.revival = revival
        self.revival_end = revival_end

    def phase(self, step: Step) -> bool:
        """Return whether dead codes are revived: nothing else depends on the epoch."""
        return step.epoch < self.revival_end

    def forward(self, batch: WindowBatch, step: Step) -> LossTerms:
        """Return the reconstruction terms, and for a VQ-VAE the quantisation loss."""
        x = part_input(self.loss.part, batch.motion, batch.expressions, rules=self.rules)
        if isinstance(self.network, AutoEncoder):
            return self.loss(self.network(x), batch)

        latents = self.network.encode(x)
        quantized = self.network.quantize(latents)
        if self.training and self.revival is not None:
            self.revival(latents, quantized.index)
        terms = self.loss(self.network.decode(quantized.vectors), batch)
        return {**terms, "quantisation": quantized.loss}

    def after_backward(self, step: Step) -> None:
        """Revive dead codes."""
        if self.revival is not None and self.phase(step):
            self.revival.revive(cast(VQVAE, self.network).quantizer)

    def measure(self, data: TrainingData, device: torch.device) -> dict[str, float]:
        """Return the use of the codebook and the share of the movement that is reconstructed."""
        if isinstance(self.network, AutoEncoder):
            return measure_global(self.network, data.store, rules=self.rules, device=device)
        return measure_vqvae(
            cast(Part, self.loss.part),
            self.network,
            data.store,
            rules=self.rules,
            device=device,
            seed=data.seed,
        )


def train_auto_encoder(
    part: Name,
    store: FeatureStore,
    body: Body,
    *,
    common: VQCommonConfig,
    config: VQPartConfig,
    mesh_vertices: int,
    mesh_frames: int = 0,
    rules: FidelityRules,
    seed: int,
    context: TrainContext,
) -> Trained[VQVAE | AutoEncoder]:
    """Train one auto-encoder.

    Args:
        part: Which auto-encoder; `global` maps legs to ground velocity and contacts and has no
            codebook.
        store: Features.
        body: Body model for joints and meshes.
        common: Settings that all five share.
        config: Settings of this one.
        mesh_vertices: Vertices of the mesh terms; 0 uses all.
        mesh_frames: Frames of each window in the mesh terms; 0 uses all.
        rules: Which losses and inputs to use, whether to revive dead codes, and whether to
            initialise the weights from the data.
        seed: Seed for initial weights, order of windows and random draws.
        context: Device, scratch folder and tracker.

    """
    torch.manual_seed(seed)
    network = build_auto_encoder(
        part,
        width=common.width,
        layers=config.layers,
        codebook_size=common.codebook_size,
        rules=rules,
    ).to(context.device)
    data = TrainingData.from_store(
        store,
        length=common.window,
        stride=common.stride,
        audio=False,
        rules=rules,
        batch_size=common.batch_size,
        seed=seed,
    )

    if rules.data_dependent_init:
        data_dependent_init(
            _channels(part, data, rules, context),
            inputs=[cast(nn.Conv1d, network.encoder[0])],
            output=cast(nn.Conv1d, network.decoder[-1]),
            min_deviation=config.min_deviation,
            # The global-motion net reads legs, and writes channels of the lower body.
            targets=_channels("lower", data, rules, context) if part == "global" else None,
        )

    module = build_training(
        part,
        network,
        body.to(context.device),
        common=common,
        config=config,
        mesh_vertices=mesh_vertices,
        mesh_frames=mesh_frames,
        rules=rules,
    )
    optim = OptimSettings(
        epochs=config.epochs,
        lr=config.lr,
        betas=common.betas,
        decay_epoch=config.decay_epoch,
        lr_decay=common.lr_decay,
        select=common.select if rules.best_epoch else "last",
        patience=common.patience,
        # A CUDA graph needs it. On a CPU it would change last bits, and gain nothing.
        fused=context.device.type == "cuda",
    )
    state = train(module, data, optim, context)
    return Trained.of(network, state)


def build_training(
    part: Name,
    network: VQVAE | AutoEncoder,
    body: Body,
    *,
    common: VQCommonConfig,
    config: VQPartConfig,
    mesh_vertices: int,
    mesh_frames: int,
    rules: FidelityRules,
) -> AutoEncoderTraining:
    """Join the auto-encoder of a part with its losses and the revival of its codes.

    Args:
        part: The part.
        network: Its auto-encoder.
        body: Body model, on the device of the training.
        common: Settings that all five share.
        config: Settings of this one.
        mesh_vertices: Vertices of the mesh terms; 0 uses all.
        mesh_frames: Frames of each window in the mesh terms; 0 uses all.
        rules: Which losses and inputs to use, and whether to revive dead codes.

    """
    revival = None
    if isinstance(network, VQVAE) and common.revive_dead_codes and rules.revive_dead_codes:
        revival = DeadCodeRevival(
            network.quantizer,
            dead_share=common.dead_code_share,
            momentum=common.code_usage_momentum,
        )
    loss = PartLoss.build(
        part,
        body,
        config=common,
        mesh_vertices=mesh_vertices,
        mesh_frames=mesh_frames,
        rules=rules,
    )
    return AutoEncoderTraining(
        network,
        loss,
        rules=rules,
        revival=revival,
        # With the lower learning rate, a code that was moved would not settle any more.
        revival_end=config.decay_epoch,
    )


def _channels(
    part: Name, data: TrainingData, rules: FidelityRules, context: TrainContext
) -> Iterator[Tensor]:
    """Iterate over the channels (B, T, D) of a part in about a thousand training windows."""
    for batch in data.subsample(context.device):
        yield part_input(part, batch.motion, batch.expressions, rules=rules)


def build_auto_encoder(
    part: Name, *, width: int, layers: int, codebook_size: int, rules: FidelityRules
) -> VQVAE | AutoEncoder:
    """Build a new auto-encoder of a part.

    Args:
        part: The part; "global" gets an auto-encoder without a codebook.
        width: Channels of the latents.
        layers: Layers of encoder and decoder.
        codebook_size: Number of codes.
        rules: Published or corrected borders.

    """
    borders: Borders = "replicate" if rules.replicate_borders else "zeros"
    if part == "global":
        return AutoEncoder(PART_DIMS[part], width, layers, borders)
    return VQVAE(PART_DIMS[part], width, layers, codebook_size, borders)
