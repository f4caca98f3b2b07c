"""Codes of every frame, encoded once: the generator learns from them and never runs the
auto-encoders.

Whole clips are encoded at once, so that a code depends on its true neighbours; published training
encodes each window by itself, which differs within 12 frames of a window's edge.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from mambatalk.features.store import FeatureStore
from mambatalk.fidelity import FidelityRules
from mambatalk.files import atomic_file
from mambatalk.models.vq.vqvae import VQVAE
from mambatalk.motion.parts import part_input
from mambatalk.motion.skeleton import PARTS, Part
from mambatalk.runtime import device
from mambatalk.training.codebook import usage

Codes = dict[Part, NDArray[np.int16]]


@torch.no_grad()
def encode_codes(
    store: FeatureStore, networks: Mapping[Part, VQVAE], *, rules: FidelityRules
) -> Codes:
    """Codes (N,) of each part over the store's flat frames."""
    codes: Codes = {part: np.zeros(len(store.motion), np.int16) for part in PARTS}
    for clip in store.clips:
        rows = store.frames(clip)
        motion = torch.from_numpy(store.motion[rows].copy())[None].to(device())
        expressions = torch.from_numpy(store.expressions[rows].copy())[None].to(device())
        for part in PARTS:
            x = part_input(part, motion, expressions, rules=rules)
            network = networks[part]
            codes[part][rows] = network.quantizer.nearest(network.encode(x))[0].cpu().numpy()
    return codes


def code_usage(codes: Codes, networks: Mapping[Part, VQVAE]) -> dict[str, float]:
    """Share of each code book in use over all frames, and its perplexity."""
    return {
        f"{part}/{key}": value
        for part in PARTS
        for key, value in usage(
            torch.from_numpy(codes[part].astype(np.int64)),
            networks[part].quantizer.embedding.num_embeddings,
        ).items()
    }


def write_codes(path: str | Path, codes: Codes) -> None:
    """Write codes as safetensors."""
    with atomic_file(path) as temporary:
        save_file({str(part): array for part, array in codes.items()}, temporary)


def read_codes(path: str | Path) -> Codes:
    """Read what `write_codes` wrote."""
    arrays = load_file(path)
    return {part: arrays[part] for part in PARTS}
