"""The motion auto-encoder behind FGD: encoder as published, decoder and loss ours.

It learns to give 6D poses back from features at a sixteenth of the frame rate; only the encoder is
kept. The published net was trained elsewhere and cannot be trained again from what is public, so
that an FGD by our encoder is comparable with other numbers of the same encoder alone.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from mambatalk.config import TrainFGDConfig
from mambatalk.features.store import FeatureStore
from mambatalk.features.windows import WindowBatch
from mambatalk.fidelity import FidelityRules
from mambatalk.models.fgd.network import BoneBlock, FGDDecoder, FGDEncoder
from mambatalk.motion.skeleton import POSE_DIM
from mambatalk.runtime import device
from mambatalk.training.initialization import fit_scale
from mambatalk.training.loop import Schedule, Trained, Windows, fit
from mambatalk.training.tracker import Curve, Tracker


def train_fgd_encoder(
    store: FeatureStore,
    config: TrainFGDConfig,
    *,
    rules: FidelityRules,
    seed: int,
    tracker: Tracker,
) -> Trained[FGDEncoder]:
    """Train encoder and decoder together and return the encoder."""
    torch.manual_seed(seed)
    encoder, decoder = FGDEncoder(config.latent), FGDDecoder(config.latent)
    network = nn.Sequential(encoder, decoder).to(device())
    data = Windows.of(store, length=config.window, stride=config.stride, audio=False, rules=rules)
    entry = cast(BoneBlock, encoder.blocks[0])
    fit_scale(
        (batch.motion[..., :POSE_DIM] for batch in data.spread(device())),
        readers=[entry.residual, entry.shortcut],
        writer=cast(nn.Conv1d, decoder.blocks[-1]),
    )
    schedule = Schedule(
        epochs=config.epochs,
        batch_size=config.batch_size,
        lr=config.lr,
        betas=(0.9, 0.99),
        seed=seed,
    )

    def terms(batch: WindowBatch, epoch: int) -> dict[str, Tensor]:
        pose = batch.motion[..., :POSE_DIM]
        return {"channels": functional.mse_loss(network(pose), pose)}

    curve = Curve(tracker)
    fit("train_fgd_encoder", network, terms, data, schedule, curve)
    last = {
        key.removeprefix("val/"): value
        for key, value in curve.rows[-1].items()
        if key.startswith("val/")
    }
    return Trained(encoder, last, curve)
