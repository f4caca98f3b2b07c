"""The representation stage: five auto-encoders, one after the other or side by side; each learns
alone.
"""

from typing import cast

import torch
from torch import Tensor, nn

from mambatalk.config import VQCommonConfig, VQPartConfig
from mambatalk.features.store import FeatureStore
from mambatalk.features.windows import WindowBatch, batches
from mambatalk.fidelity import FidelityRules
from mambatalk.models.vq.vqvae import VQVAE, AutoEncoder
from mambatalk.motion.body import Body
from mambatalk.motion.parts import part_input
from mambatalk.motion.skeleton import PART_DIMS
from mambatalk.motion.skeleton import AutoEncoder as Name
from mambatalk.runtime import device
from mambatalk.training.codebook import CodebookWatch, usage
from mambatalk.training.initialization import fit_scale
from mambatalk.training.loop import Schedule, Trained, Windows, fit
from mambatalk.training.modules.part_losses import PartLoss
from mambatalk.training.tracker import Curve, Tracker


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
    tracker: Tracker,
) -> Trained[VQVAE | AutoEncoder]:
    """Train one auto-encoder.

    Args:
        part: Which; `global` is the plain net that turns legs into ground velocity and contacts.
        store: Features.
        body: For joints and meshes.
        common: What all five share.
        config: What is this one's own.
        mesh_vertices: Vertices of the mesh terms; 0 takes all.
        mesh_frames: Frames of each window in the mesh terms; 0 takes all.
        rules: Which losses and inputs to use, and whether to revive dead codes and to fit the first
            weights to the data.
        seed: Of initial weights, order and draws.
        tracker: Gets the curve as it grows.

    """
    torch.manual_seed(seed)
    network = build_auto_encoder(
        part, width=common.width, layers=config.layers, codebook_size=common.codebook_size
    )
    network, body = network.to(device()), body.to(device())
    data = Windows.of(store, length=common.window, stride=common.stride, audio=False, rules=rules)
    if isinstance(network, VQVAE) and rules.data_dependent_init:
        inputs = (
            part_input(part, batch.motion, batch.expressions, rules=rules)
            for batch in data.spread(device())
        )
        fit_scale(
            inputs,
            readers=[cast(nn.Conv1d, network.encoder[0])],
            writer=cast(nn.Conv1d, network.decoder[-1]),
        )
    schedule = Schedule(
        epochs=config.epochs,
        batch_size=common.batch_size,
        lr=common.lr,
        betas=common.betas,
        seed=seed,
        decay_epoch=config.decay_epoch,
    )
    loss = PartLoss.of(
        part,
        body,
        mesh_vertices=mesh_vertices,
        mesh_weight=common.mesh_weight,
        rules=rules,
        mesh_frames=mesh_frames,
    )
    watch = CodebookWatch(network.quantizer) if isinstance(network, VQVAE) else None
    # After the decay a moved code would have no time to settle.
    reviving = common.revive_dead_codes and rules.revive_dead_codes

    def terms(batch: WindowBatch, epoch: int) -> dict[str, Tensor]:
        x = part_input(part, batch.motion, batch.expressions, rules=rules)
        if watch is None or not isinstance(network, VQVAE):
            return loss(network(x), batch)
        latent = network.encode(x)
        quantized = network.quantize(latent)
        values = {**loss(network.decode(quantized.vectors), batch), "quantisation": quantized.loss}
        if reviving and network.training and epoch < config.decay_epoch:
            watch.revive(latent, quantized.index)
        return values

    curve = Curve(tracker)
    fit(f"train_vq@{part}", network, terms, data, schedule, curve)
    last = {
        key.removeprefix("val/"): value
        for key, value in curve.rows[-1].items()
        if key.startswith("val/")
    }
    return Trained(network, {**last, **_codebook_use(part, network, data, rules)}, curve)


def build_auto_encoder(
    part: Name, *, width: int, layers: int, codebook_size: int
) -> VQVAE | AutoEncoder:
    """A new auto-encoder of a part."""
    if part == "global":
        return AutoEncoder(PART_DIMS[part], width, layers)
    return VQVAE(PART_DIMS[part], width, layers, codebook_size)


@torch.no_grad()
def _codebook_use(
    part: Name, network: nn.Module, data: Windows, rules: FidelityRules
) -> dict[str, float]:
    if not isinstance(network, VQVAE):
        return {}
    index = [
        network.quantize(
            network.encode(part_input(part, batch.motion, batch.expressions, rules=rules))
        ).index
        for batch in batches(
            data.store, data.validation, data.length, batch_size=64, audio=False, device=device()
        )
    ]
    return usage(torch.cat(index), network.quantizer.embedding.num_embeddings)
