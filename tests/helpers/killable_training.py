"""A training that a test kills: `python -m tests.helpers.killable_training NAME EPOCHS FEATURES`.

For each folder named on standard input, a forked process trains from the newest checkpoint there,
with a checkpoint after every step. A fork takes milliseconds; a new interpreter would import for
seconds. Its process id is printed, then one line for each step, and its exit status at the end. The
trained weights are written to weights.pt in the folder, the curve to curve.csv.
"""

import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from mambatalk.features.store import FeatureStore
from mambatalk.models.vq.vqvae import VQVAE
from mambatalk.motion.skeleton import Part
from mambatalk.runtime import make_deterministic
from mambatalk.training.context import TrainContext
from mambatalk.training.loop.train import Trained
from tests.helpers.tiny_training import CPU, random_auto_encoders, tiny_store, train_gen, train_vq


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


def run(
    name: str,
    store: FeatureStore,
    networks: dict[Part, VQVAE],
    *,
    epochs: int,
    scratch: Path | None,
) -> Trained[Any]:
    """Train one network, with three steps in an epoch."""
    make_deterministic(0, 1)
    context = TrainContext(device=CPU, scratch=scratch, save_seconds=0)
    if name == "hands":
        # Codes die and are revived.
        return train_vq(
            "hands", store, epochs=epochs, batch_size=2, codebook_size=64, context=context
        )
    return train_gen(store, networks, epochs=epochs, batch_size=2, context=context)


def main() -> None:
    """Fork a training for each line of standard input."""
    name, epochs, features = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    make_deterministic(0, 1)
    store, networks = tiny_store(features), random_auto_encoders()
    # Compiles and loads what every training needs, so that the forks need not.
    run(name, store, networks, epochs=1, scratch=None)
    for line in sys.stdin:
        folder = Path(line.strip())
        child = os.fork()
        if child == 0:
            register_optimizer_step_post_hook(lambda *_: say("step"))
            trained = run(name, store, networks, epochs=epochs, scratch=folder / "scratch")
            torch.save(trained.network.state_dict(), folder / "weights.pt")
            trained.curve.write(folder / "curve.csv")
            os._exit(0)
        say(f"pid {child}")
        say(f"ended {os.waitpid(child, 0)[1]}")


if __name__ == "__main__":
    main()
