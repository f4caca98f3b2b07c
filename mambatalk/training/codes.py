"""Codes of every frame, encoded once, so that generator training never runs the auto-encoders.

Whole clips are encoded, so that each code depends on its true neighbours. Published training
encodes each window by itself, which gives other codes within 12 frames of a window's edge.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from torch import Tensor

from mambatalk.errors import InputError
from mambatalk.features.store import ClipInfo, FeatureStore
from mambatalk.fidelity import FidelityRules
from mambatalk.files import atomic_file
from mambatalk.models.vq.vqvae import VQVAE
from mambatalk.motion.parts import part_input
from mambatalk.motion.skeleton import PARTS, Part

Codes = dict[Part, NDArray[np.int16]]
"""Codes (N,) of each part, for the frames of a feature store in order."""


@torch.no_grad()
def encode_codes(
    store: FeatureStore,
    networks: Mapping[Part, VQVAE],
    *,
    rules: FidelityRules,
    device: torch.device,
) -> Codes:
    """Encode all frames of a store.

    Args:
        store: Features.
        networks: The auto-encoder of each part, on `device`.
        rules: Published or corrected inputs of the auto-encoders.
        device: Where to compute.

    Returns:
        Codes (N,) of each part, for the N frames of the store.

    """
    codes: Codes = {part: np.zeros(len(store.motion), np.int16) for part in PARTS}
    for clip in store.clips:
        for part, index in encode_clip(store, clip, networks, rules=rules, device=device).items():
            codes[part][store.frames(clip)] = index.cpu().numpy()
    return codes


@torch.no_grad()
def encode_clip(
    store: FeatureStore,
    clip: ClipInfo,
    networks: Mapping[Part, VQVAE],
    *,
    rules: FidelityRules,
    device: torch.device,
) -> dict[Part, Tensor]:
    """Return the codes (n,) of each part of one clip; arguments as in `encode_codes`."""
    rows = store.frames(clip)
    motion = torch.from_numpy(store.motion[rows].copy())[None].to(device)
    expressions = torch.from_numpy(store.expressions[rows].copy())[None].to(device)
    codes = {}
    for part in PARTS:
        x = part_input(part, motion, expressions, rules=rules)
        network = networks[part]
        codes[part] = network.quantizer.nearest(network.encode(x))[0]
    return codes


def write_codes(path: str | Path, codes: Codes) -> None:
    """Write codes as safetensors."""
    with atomic_file(path) as temporary:
        save_file({str(part): array for part, array in codes.items()}, temporary)


def read_codes(path: str | Path) -> Codes:
    """Read codes that `write_codes` wrote.

    Raises:
        InputError: The file is missing, damaged or of something else.

    """
    try:
        arrays = load_file(path)
        return {part: arrays[part] for part in PARTS}
    except (OSError, LookupError, SafetensorError, ValueError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(
            path,
            f"expected the codes of {', '.join(PARTS)}, found a file that does not load ({reason})",
            "run the stage encode_codes again",
        ) from None
