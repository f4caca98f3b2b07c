"""What the losses of an auto-encoder do not show: codes that collapse, and parts that stand still.

Measured on whole training clips after each epoch.
"""

import warnings
from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mambatalk.features.store import ClipInfo, FeatureStore
from mambatalk.fidelity import FidelityRules
from mambatalk.models.vq.quantizer import codebook_usage
from mambatalk.models.vq.vqvae import VQVAE, AutoEncoder
from mambatalk.motion.parts import PART_TRANSLATION, integrate_ground, part_input
from mambatalk.motion.rotations import matrix_from_6d, matrix_to_6d
from mambatalk.motion.skeleton import FPS, PART_JOINTS, TRANSLATION, Part

MAX_ENCODED: Final = 65_536
"""Approximate number of frames to encode. In a larger corpus only every k-th clip is encoded."""
MAX_FRAMES: Final = 8_192
"""Frames whose codes are counted, evenly spaced in the encoded clips: 64 for each code of the
sample, and k-means takes 0.5 s. Neighbouring frames have nearly the same latents."""
KMEANS_ITERATIONS: Final = 10
"""With 30 the perplexity of the sample's parts changes by 1 % at most."""
DRIFT_SECONDS: Final = 10.0
STILL: Final = 1e-9
"""A movement below this has no ratio."""


@torch.no_grad()
def measure_vqvae(
    part: Part,
    network: VQVAE,
    store: FeatureStore,
    *,
    rules: FidelityRules,
    device: torch.device,
    seed: int,
) -> dict[str, float]:
    """Measure the codes of an auto-encoder and the movement that they carry.

    Args:
        part: Part of the body.
        network: Its auto-encoder, in evaluation mode.
        store: Features.
        rules: Published or corrected inputs.
        device: Device of the network.
        seed: Seed of k-means.

    Returns:
        codes_used: Share of the codebook in use, from 0 to 1.
        perplexity: Number of equally frequent codes with the same entropy.
        kmeans_perplexity: Perplexity of k-means (k-means++) with as many centres on the same
            latents: what a codebook can reach.
        range_ratio: Standard deviation over time of the reconstruction relative to the recording,
            averaged over channels; the smallest of rotations, expressions and ground velocity.
            Absent if nothing moves.

    """
    latents = []
    codes = []
    movement = _Movement()
    for clip in _clips(store):
        motion, expressions = _tensors(store, clip, device)
        x = part_input(part, motion, expressions, rules=rules)
        latent = network.encode(x)
        quantized = network.quantize(latent)
        movement.add_channels(
            _groups(part, network.decode(quantized.vectors)[0], rules), _groups(part, x[0], rules)
        )
        latents.append(latent[0])
        codes.append(quantized.index[0])

    size = network.quantizer.size
    encoded_frames = sum(map(len, codes))
    spacing = -(-encoded_frames // MAX_FRAMES)
    counted = torch.cat(latents)[::spacing].double().cpu().numpy()
    centres = torch.from_numpy(_kmeans(counted, size, seed))
    return {
        **codebook_usage(torch.cat(codes)[::spacing], size),
        "kmeans_perplexity": codebook_usage(centres, size)["perplexity"],
        **movement.ratios("range_ratio"),
    }


@torch.no_grad()
def measure_global(
    network: AutoEncoder, store: FeatureStore, *, rules: FidelityRules, device: torch.device
) -> dict[str, float]:
    """Measure the path of the root that the global-motion network gives for recorded legs.

    The path is the free integral of its velocities, without the bounds of corrected synthesis.

    Args:
        network: The network, in evaluation mode.
        store: Features.
        rules: Published or corrected inputs.
        device: Device of the network.

    Returns:
        range_ratio: Standard deviation over time of the position in the plane, relative to the
            recording.
        drift_ratio: Mean distance from the place 10 s before, relative to the recording. Both are
            absent if nobody moves.

    """
    ranges = _Movement()
    drifts = _Movement()
    frames = round(DRIFT_SECONDS * FPS)
    for clip in _clips(store):
        motion, expressions = _tensors(store, clip, device)
        x = part_input("global", motion, expressions, rules=rules)
        truth = motion[..., TRANSLATION]
        path = integrate_ground(network(x)[..., PART_TRANSLATION], truth[:, 0])
        plane, true_plane = path[0][:, (0, 2)], truth[0][:, (0, 2)].to(path)
        ranges.add_channels({"root": plane}, {"root": true_plane})
        back = min(frames, clip.frames - 1)
        if back:
            drifts.add("root", _drift(plane, back), _drift(true_plane, back), clip.frames)
    return {**ranges.ratios("range_ratio"), **drifts.ratios("drift_ratio")}


def _drift(points: Tensor, back: int) -> float:
    """Return the mean distance of points (n, 2) from those `back` frames before, in metres."""
    return float((points[back:] - points[:-back]).norm(dim=-1).mean())


class _Movement:
    """Sums of how much groups of channels move: in the reconstruction, and in the recording."""

    def __init__(self) -> None:
        self.totals: dict[str, NDArray[np.float64]] = {}

    def add(self, group: str, ours: float, truth: float, weight: int) -> None:
        """Add the movement of a group in one clip."""
        self.totals[group] = self.totals.get(group, np.zeros(2)) + weight * np.array([ours, truth])

    def add_channels(self, ours: Mapping[str, Tensor], truth: Mapping[str, Tensor]) -> None:
        """Add the standard deviations over time of a clip's channels (n, C) by group."""
        for group, channels in truth.items():
            self.add(group, _range(ours[group]), _range(channels), len(channels))

    def ratios(self, name: str) -> dict[str, float]:
        """Return the smallest ratio of a group under a name; nothing if no group moves."""
        ratios = [float(ours / truth) for ours, truth in self.totals.values() if truth > STILL]
        return {name: min(ratios)} if ratios else {}


def _range(channels: Tensor) -> float:
    """Return the standard deviation over time of channels (n, C), averaged over channels."""
    return float(channels.double().std(0, correction=0).mean())


def _clips(store: FeatureStore) -> list[ClipInfo]:
    """Return the training clips to encode."""
    clips = store.clips_in_split("train")
    frames = sum(clip.frames for clip in clips)
    return clips[:: -(-frames // MAX_ENCODED)]


def _tensors(store: FeatureStore, clip: ClipInfo, device: torch.device) -> Iterator[Tensor]:
    """Yield motion (1, n, 337) and expressions (1, n, 100) of a clip."""
    for array in (store.motion, store.expressions):
        yield torch.from_numpy(array[store.frames(clip)].copy())[None].to(device)


def _groups(part: Part, channels: Tensor, rules: FidelityRules) -> dict[str, Tensor]:
    """Split the channels (n, D) of a part by unit; the contacts of feet are left out."""
    count = 6 * len(PART_JOINTS[part])
    rotations = matrix_to_6d(matrix_from_6d(channels[:, :count].unflatten(-1, (-1, 6)))).flatten(1)
    groups = {"rotations": rotations}
    if part == "face":
        groups["expressions"] = channels[:, count:]
    if part == "lower" and rules.ground_velocity:
        # Nothing reads the position that published networks reconstruct.
        groups["velocity"] = channels[:, PART_TRANSLATION][:, (0, 2)]
    return groups


def _kmeans(latents: NDArray[np.float64], size: int, seed: int) -> NDArray[np.int64]:
    """Return the nearest of `size` k-means centres for each latent (n, C)."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    clusters = min(size, len(latents))
    kmeans = KMeans(clusters, n_init=1, max_iter=KMEANS_ITERATIONS, random_state=seed)
    with warnings.catch_warnings():
        # It stops early on purpose, and a short corpus may have fewer different latents.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return kmeans.fit(latents).labels_.astype(np.int64)
