"""Training of the five motion auto-encoders. They are trained independently of each other."""

from collections.abc import Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from mambatalk.config import VQCommonConfig, VQPartConfig
from mambatalk.errors import InputError
from mambatalk.features.store import FeatureStore
from mambatalk.features.windows import WindowBatch
from mambatalk.fidelity import PUBLISHED, FidelityRules
from mambatalk.models.vq.quantizer import MovingAverageCodebook, QuantizerKind
from mambatalk.models.vq.vqvae import VQVAE, AutoEncoder, Borders
from mambatalk.motion.body import Body
from mambatalk.motion.parts import part_input
from mambatalk.motion.skeleton import PART_DIMS, AutoEncoderName, Part
from mambatalk.training.context import TrainContext
from mambatalk.training.initialization import data_dependent_init
from mambatalk.training.loop.data import TrainingData
from mambatalk.training.loop.module import LossTerms, Step, TrainingModule
from mambatalk.training.loop.optim import OptimSettings
from mambatalk.training.loop.train import Trained, train
from mambatalk.training.modules.codebooks import DeadCodeRevival, MovingAverage
from mambatalk.training.modules.measures import measure_global, measure_vqvae
from mambatalk.training.modules.part_losses import PartLoss


class AutoEncoderTraining(TrainingModule):
    """One auto-encoder with its losses, and for a VQ-VAE what changes its codebooks.

    Args:
        network: The auto-encoder of `loss.part`.
        loss: Reconstruction terms, on the network's device.
        rules: Published or corrected inputs.
        average: Moving average of the code vectors. If None, the optimizer alone moves them.
        revivals: One for each codebook of the quantiser; if empty, dead codes stay where they are.
        revival_end: Epoch from which codes are no longer revived.

    """

    capturable = True

    def __init__(
        self,
        network: VQVAE | AutoEncoder,
        loss: PartLoss,
        *,
        rules: FidelityRules,
        average: MovingAverage | None,
        revivals: Sequence[DeadCodeRevival],
        revival_end: int,
    ) -> None:
        super().__init__(f"train_vq@{loss.part}")
        self.network = network
        self.loss = loss
        self.rules = rules
        self.average = average
        self.revivals = nn.ModuleList(revivals)
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
        if self.training:
            if self.average is not None:
                self.average(latents, quantized.index)
            if self.revivals:
                parts = self.network.quantizer.split(latents, quantized.index)
                for revival, part in zip(self.revivals, parts, strict=True):
                    revival(*part)
        terms = self.loss(self.network.decode(quantized.vectors), batch)
        return {**terms, "quantisation": quantized.loss}

    def after_backward(self, step: Step) -> None:
        """Move the codes of a moving average, and revive dead codes."""
        if isinstance(self.network, AutoEncoder):
            return
        if self.average is not None:
            self.average.update(self.network.quantizer)
        if self.revivals and self.phase(step):
            codebooks = self.network.quantizer.codebooks
            for revival, codebook in zip(self.revivals, codebooks, strict=True):
                cast(DeadCodeRevival, revival).revive(codebook)

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
    part: AutoEncoderName,
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

    Raises:
        InputError: See `build_auto_encoder`, `build_training`, `TrainingData` and `train`.

    """
    torch.manual_seed(seed)
    network = build_auto_encoder(
        part,
        width=common.width,
        layers=config.layers,
        codebook_size=common.codebook_size,
        quantizer=common.quantizer,
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
    part: AutoEncoderName,
    network: VQVAE | AutoEncoder,
    body: Body,
    *,
    common: VQCommonConfig,
    config: VQPartConfig,
    mesh_vertices: int,
    mesh_frames: int,
    rules: FidelityRules,
) -> AutoEncoderTraining:
    """Join the auto-encoder of a part with its losses and with what changes its codebooks.

    Args:
        part: The part.
        network: Its auto-encoder.
        body: Body model, on the device of the training.
        common: Settings that all five share.
        config: Settings of this one.
        mesh_vertices: Vertices of the mesh terms; 0 uses all.
        mesh_frames: Frames of each window in the mesh terms; 0 uses all.
        rules: Which losses and inputs to use, and whether to revive dead codes.

    Raises:
        InputError: `mesh_frames` is 1 or 2, too few for an acceleration.

    """
    average = None
    revivals = []
    momentum = common.code_usage_momentum
    if isinstance(network, VQVAE):
        if isinstance(network.quantizer, MovingAverageCodebook):
            average = MovingAverage(network.quantizer, momentum=momentum)
        if common.revive_dead_codes and rules.revive_dead_codes:
            revivals = [
                DeadCodeRevival(codebook, dead_share=common.dead_code_share, momentum=momentum)
                for codebook in network.quantizer.codebooks
            ]
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
        average=average,
        revivals=revivals,
        # With the lower learning rate, a moved code would no longer settle.
        revival_end=config.decay_epoch,
    )


def _channels(
    part: AutoEncoderName, data: TrainingData, rules: FidelityRules, context: TrainContext
) -> Iterator[Tensor]:
    """Iterate over the channels (B, T, D) of a part in about a thousand training windows."""
    for batch in data.subsample(context.device):
        yield part_input(part, batch.motion, batch.expressions, rules=rules)


def build_auto_encoder(
    part: AutoEncoderName,
    *,
    width: int,
    layers: int,
    codebook_size: int,
    quantizer: QuantizerKind = "learned",
    rules: FidelityRules,
) -> VQVAE | AutoEncoder:
    """Build a new auto-encoder of a part.

    Args:
        part: The part; "global" gets an auto-encoder without a codebook.
        width: Channels of the latents.
        layers: Layers of encoder and decoder.
        codebook_size: Number of codes.
        quantizer: How latents become codes.
        rules: Published or corrected borders.

    Raises:
        InputError: The quantiser cannot have this width or number of codes, or it is not the
            learned codebook and the behaviour is published.

    """
    if quantizer != "learned" and rules == PUBLISHED:
        raise InputError(
            "train_vq.common.quantizer",
            f"expected learned with published fidelity, found {quantizer}",
            "set fidelity: corrected, or quantizer: learned",
        )
    if quantizer == "product" and width % 2:
        raise InputError(
            "train_vq.common.width",
            f"expected an even number for two codebooks, found {width}",
            "set an even width, or quantizer: learned",
        )
    borders: Borders = "replicate" if rules.replicate_borders else "zeros"
    if part == "global":
        return AutoEncoder(PART_DIMS[part], width, layers, borders)
    try:
        return VQVAE(PART_DIMS[part], width, layers, codebook_size, borders, quantizer)
    except ValueError as error:
        raise InputError(
            "train_vq.common.codebook_size",
            f"{error} with quantizer: {quantizer}",
            "set such a number, for example 128, or quantizer: learned",
        ) from None
