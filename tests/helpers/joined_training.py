"""One process of a training: `python -m tests.helpers.joined_training NAME FEATURES FOLDER [STOP]`.

The environment says which process of how many it is, and on which device. Its weights go to
FOLDER/RANK.pt, the curve to FOLDER/RANK.csv. With STOP it sends itself SIGTERM during that step.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook

from mambatalk.features.store import open_features
from mambatalk.models.vq.quantizer import LearnedCodebook, MovingAverageCodebook
from mambatalk.runtime import device, make_deterministic, rank
from mambatalk.training.context import TrainContext
from mambatalk.training.loop.distributed import joined_processes, processes
from mambatalk.training.loop.train import Trained
from mambatalk.training.modules.codebooks import DeadCodeRevival, MovingAverage
from tests.helpers.tiny_training import random_auto_encoders, train_fgd, train_gen, train_vq


def revived_codes() -> dict[str, Tensor]:
    """Return a codebook of 64 after 30 steps in which at most 8 codes are used."""
    torch.manual_seed(0)
    codebook = LearnedCodebook(64, 4)
    revival = DeadCodeRevival(codebook, dead_share=0.1, momentum=0.9)
    # Two windows of ten frames in each process of two, four in one alone.
    latents = torch.randn(4, 10, 4).chunk(processes())[rank()]
    codes = torch.randint(8, (4, 10)).chunk(processes())[rank()]
    moved = 0
    for _ in range(30):
        revival(latents, codes)
        moved += revival.revive(codebook)
    return {"codes": codebook.table.detach(), "moved": torch.tensor(moved)}


def averaged_codes() -> dict[str, Tensor]:
    """Return a codebook of 64 after 30 steps of a moving average."""
    torch.manual_seed(0)
    codebook = MovingAverageCodebook(64, 4)
    average = MovingAverage(codebook, momentum=0.9)
    for _ in range(30):
        latents = torch.randn(4, 10, 4).chunk(processes())[rank()]
        average(latents, codebook.nearest(latents))
        average.update(codebook)
    return {"codes": codebook.table, "shares": average.shares}


def main() -> None:
    """Train one network."""
    name, features, folder = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    make_deterministic(0, 1)
    store = open_features(features / "features", features / "cache")
    context = TrainContext(device=device(), scratch=folder / "scratch", save_seconds=3600)
    made = 0

    def count(*_: object) -> None:
        nonlocal made
        made += 1
        if made == int(sys.argv[4]):
            os.kill(os.getpid(), signal.SIGTERM)

    if name in ("revival", "average"):
        with joined_processes():
            codes = revived_codes() if name == "revival" else averaged_codes()
            torch.save(codes, folder / f"{rank()}.pt")
        return
    if len(sys.argv) > 4:
        register_optimizer_step_post_hook(count)
    trained: Trained[Any]
    if name == "fgd":
        trained = train_fgd(store, epochs=3, batch_size=4, context=context)
    elif name == "generator":
        trained = train_gen(
            store,
            random_auto_encoders(),
            epochs=5,
            batch_size=4,
            dropout=0.0,
            text_dropout=0.0,
            random_weight=0.0,
            context=context,
        )
    else:
        trained = train_vq(
            "global" if name == "global" else "hands",
            store,
            epochs=10 if name == "hands" else 3,
            batch_size=2,
            codebook_size=64,
            # Frames of the mesh terms are the only random draws.
            mesh_frames=5 if name == "random" else 0,
            context=context,
        )
    torch.save(trained.network.state_dict(), folder / f"{rank()}.pt")
    trained.curve.write(folder / f"{rank()}.csv")


if __name__ == "__main__":
    main()
