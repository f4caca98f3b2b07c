"""Training of the motion auto-encoder behind FGD.

The encoder is the published one; the decoder and the loss are ours. The network reconstructs 6D
poses from features at a sixteenth of the frame rate, and only the encoder is kept. The published
encoder was trained on data that is not public. An FGD of our encoder is therefore comparable only
with other values of the same encoder.
"""

from typing import cast

import torch
from torch import nn
from torch.nn import functional

from mambatalk.config import TrainFGDConfig
from mambatalk.features.store import FeatureStore
from mambatalk.features.windows import WindowBatch
from mambatalk.fidelity import FidelityRules
from mambatalk.models.fgd.network import BoneBlock, FGDDecoder, FGDEncoder
from mambatalk.motion.skeleton import POSE_DIM
from mambatalk.training.context import TrainContext
from mambatalk.training.initialization import data_dependent_init
from mambatalk.training.loop.data import TrainingData
from mambatalk.training.loop.module import LossTerms, Step, TrainingModule
from mambatalk.training.loop.optim import OptimSettings
from mambatalk.training.loop.train import Trained, train


class FGDTraining(TrainingModule):
    """Encoder and decoder with the squared error of 6D poses."""

    def __init__(self, encoder: FGDEncoder, decoder: FGDDecoder) -> None:
        super().__init__("train_fgd_encoder")
        self.encoder = encoder
        self.decoder = decoder

    def forward(self, batch: WindowBatch, step: Step) -> LossTerms:
        """Return the reconstruction error of the poses (B, T, 330)."""
        pose = batch.motion[..., :POSE_DIM]
        return {"channels": functional.mse_loss(self.decoder(self.encoder(pose)), pose)}


def train_fgd_encoder(
    store: FeatureStore,
    config: TrainFGDConfig,
    *,
    rules: FidelityRules,
    seed: int,
    context: TrainContext,
) -> Trained[FGDEncoder]:
    """Train encoder and decoder together and return the encoder.

    Args:
        store: Features.
        config: The section `train_fgd_encoder` of the configuration.
        rules: Published or corrected use of the frames at a clip's end.
        seed: Seed for initial weights, order of windows and random draws.
        context: Device, scratch folder and tracker.

    Raises:
        InputError: The training or the validation split has no window. See also `train`.

    """
    torch.manual_seed(seed)
    encoder = FGDEncoder(config.latent)
    decoder = FGDDecoder(config.latent, config.decoder_hidden)
    module = FGDTraining(encoder, decoder).to(context.device)
    data = TrainingData.from_store(
        store,
        length=config.window,
        stride=config.stride,
        audio=False,
        rules=rules,
        batch_size=config.batch_size,
        seed=seed,
    )

    first = cast(BoneBlock, encoder.blocks[0])
    data_dependent_init(
        (batch.motion[..., :POSE_DIM] for batch in data.subsample(context.device)),
        inputs=[first.residual, first.shortcut],
        output=cast(nn.Conv1d, decoder.blocks[-1]),
        min_deviation=config.min_deviation,
    )

    optim = OptimSettings(
        epochs=config.epochs,
        lr=config.lr,
        betas=config.betas,
        select=config.select if rules.best_epoch else "last",
        patience=config.patience,
    )
    state = train(module, data, optim, context)
    return Trained.of(encoder, state)
