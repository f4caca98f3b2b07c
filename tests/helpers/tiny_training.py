"""Trainings of a second or less: settings, features, and the three networks."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mambatalk.config import TrainFGDConfig, TrainGeneratorConfig, VQCommonConfig, VQPartConfig
from mambatalk.features.store import FeatureStore, open_features
from mambatalk.fidelity import CORRECTED, FidelityRules
from mambatalk.models.fgd.network import FGDEncoder
from mambatalk.models.generator.network import Generator
from mambatalk.models.vq.vqvae import VQVAE, AutoEncoder
from mambatalk.motion.skeleton import PART_DIMS, PARTS, AutoEncoderName, Part
from mambatalk.training.codes import encode_codes
from mambatalk.training.context import TrainContext
from mambatalk.training.loop.train import Trained
from mambatalk.training.modules.fgd import train_fgd_encoder
from mambatalk.training.modules.generator import train_generator
from mambatalk.training.modules.vq import train_auto_encoder
from tests.helpers.feature_folder import write_feature_folder
from tests.helpers.stand_in_body import stand_in_body

CPU = torch.device("cpu")
CONTEXT = TrainContext(device=CPU)
COMMON = VQCommonConfig(
    width=16,
    quantizer="learned",
    codebook_size=16,
    window=64,
    stride=20,
    batch_size=8,
    select="best",
    patience=0,
    lr_decay=0.1,
    betas=(0.5, 0.999),
    mesh_weight=1.0,
    foot_weight=20.0,
    difference_weight=5.0,
    revive_dead_codes=True,
    dead_code_share=0.1,
    code_usage_momentum=0.9,
)
FGD = TrainFGDConfig(
    published=None,
    latent=20,
    decoder_hidden=64,
    window=64,
    stride=20,
    batch_size=8,
    select="best",
    patience=0,
    lr=3e-3,
    betas=(0.9, 0.99),
    min_deviation=0.05,
    epochs=2,
)
GENERATOR = TrainGeneratorConfig(
    hidden=32,
    audio_dim=16,
    word_dim=8,
    audio_width=4,
    dropout=0.1,
    window=64,
    stride=20,
    context_frames=4,
    batch_size=4,
    select="best",
    patience=0,
    lr=2e-3,
    betas=(0.5, 0.999),
    clip_norm=0.99,
    epochs=2,
    mask_start=0.05,
    random_weight=2.0,
    random_mask="channels",
    random_passes=1,
    global_scan=True,
    local_scan=True,
    use_words=True,
    speaker="added",
    target="codes",
    latent_weight=3.0,
    text_dropout=0.2,
    streaming=False,
)


def tiny_store(folder: Path) -> FeatureStore:
    """Features of three clips (train, val, test) of 6, 4 and 5 seconds."""
    return open_features(write_feature_folder(folder / "features", ctc=(0,)), folder / "cache")


def random_auto_encoders() -> dict[Part, VQVAE]:
    """Untrained auto-encoders of the four parts."""
    torch.manual_seed(0)
    return {part: VQVAE(PART_DIMS[part], 16, 2, 16).eval() for part in PARTS}


def train_vq(
    part: AutoEncoderName,
    store: FeatureStore,
    *,
    epochs: int,
    decay_epoch: int | None = None,
    mesh_frames: int = 5,
    lr: float = 3e-3,
    min_deviation: float = 0.05,
    rules: FidelityRules = CORRECTED,
    seed: int = 0,
    context: TrainContext = CONTEXT,
    **changes: Any,
) -> Trained[VQVAE | AutoEncoder]:
    """Train an auto-encoder; `changes` are to `COMMON`."""
    return train_auto_encoder(
        part,
        store,
        stand_in_body(),
        common=replace(COMMON, **changes),
        config=VQPartConfig(
            layers=2,
            epochs=epochs,
            lr=lr,
            decay_epoch=decay_epoch or epochs,
            min_deviation=min_deviation,
        ),
        mesh_vertices=30,
        mesh_frames=mesh_frames,
        rules=rules,
        seed=seed,
        context=context,
    )


def train_fgd(
    store: FeatureStore,
    *,
    rules: FidelityRules = CORRECTED,
    seed: int = 0,
    context: TrainContext = CONTEXT,
    **changes: Any,
) -> Trained[FGDEncoder]:
    """Train an FGD encoder; `changes` are to `FGD`."""
    config = replace(FGD, **changes)
    return train_fgd_encoder(store, config, rules=rules, seed=seed, context=context)


def train_gen(
    store: FeatureStore,
    networks: dict[Part, VQVAE],
    *,
    rules: FidelityRules = CORRECTED,
    seed: int = 0,
    context: TrainContext = CONTEXT,
    **changes: Any,
) -> Trained[Generator]:
    """Train a generator; `changes` are to `GENERATOR`."""
    return train_generator(
        store,
        encode_codes(store, networks, rules=rules, device=CPU),
        networks,
        replace(GENERATOR, **changes),
        vocabulary_size=6,
        speakers=2,
        rules=rules,
        seed=seed,
        context=context,
    )


def same_weights(first: nn.Module, second: nn.Module) -> bool:
    """Whether two networks of the same class have the same bits."""
    other = second.state_dict()
    return all(torch.equal(value, other[key]) for key, value in first.state_dict().items())
