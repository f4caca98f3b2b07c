"""From codes to SMPL-X motion.

The codes of a whole clip are decoded together, because the decoders read 9 frames to either side,
which makes the motion smooth where windows meet. The global-motion network predicts height and
ground velocity from the legs; corrected synthesis moves the root with the mean of this velocity and
the lower body's own. Source: published inference.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from mambatalk.fidelity import FidelityRules
from mambatalk.models.parallel import side_by_side
from mambatalk.motion.clip import SmplxMotion
from mambatalk.motion.kinematics import integrate_within
from mambatalk.motion.parts import (
    LEGS,
    PART_CONTACT,
    PART_TRANSLATION,
    integrate_ground,
    pose_index,
    select_pose,
)
from mambatalk.motion.rotations import (
    axis_angle_from_6d,
    axis_angle_to_6d,
    matrix_from_6d,
    matrix_to_6d,
)
from mambatalk.motion.skeleton import (
    EXPRESSION_DIM,
    JOINT_COUNT,
    PARTS,
    Part,
)
from mambatalk.synthesis.bundle import Bundle

Codes = dict[Part, Tensor]
"""Code indices (B, n) of the four parts; of a generator that predicts motion, the motion channels
(B, n, D) that take the place of decoded codes.
"""
PartMotion = dict[Part, Tensor]
"""Decoder outputs (B, n, D) of the four parts."""


class DecodedMotion(NamedTuple):
    """Motion in the representation of the networks."""

    pose: Tensor
    """Orthonormal 6D rotations (B, n, 330)."""
    ground: Tensor
    """Ground velocity and height (B, n, 3): (v_x, y, v_z) in m/s and m."""
    expressions: Tensor
    """Expression coefficients (B, n, 100)."""


class Bounds(NamedTuple):
    """How far the root may go, so that the integral of its velocity cannot run away."""

    centre: Tensor
    """Translation (B, 3) in metres that the distance is measured from; x and z are used."""
    reach: float
    """Largest distance in metres."""


def decode_parts(bundle: Bundle, codes: Codes) -> PartMotion:
    """Decode the codes of each part. If the generator predicts motion, return it unchanged."""
    if not bundle.generator.predicts_codes:
        return codes
    networks = bundle.part_networks
    decoders = [partial(networks[part].decode_index, codes[part]) for part in PARTS]
    return dict(zip(PARTS, side_by_side(decoders), strict=True))


def decode(bundle: Bundle, codes: Codes, rules: FidelityRules) -> DecodedMotion:
    """Decode codes to the motion of the whole body.

    The global-motion network was trained without contacts in its input. Published synthesis passes
    it the predicted contacts all the same; corrected synthesis passes zeros.

    The velocity of the root is the mean of that network's velocity and of the one that the lower
    body's auto-encoder decodes; published synthesis uses the first alone.

    Args:
        bundle: Bundle with the auto-encoders.
        codes: Code indices (B, n) of the four parts, or the predicted motion in their place.
        rules: Published or corrected decoding.

    Returns:
        Motion of B clips in the representation of the networks.

    """
    parts = decode_parts(bundle, codes)
    pose = assemble_pose(parts, PARTS, rules)
    lower = parts["lower"]

    # The global-motion network was trained with zeros in place of the translation.
    legs = select_pose(pose, "lower")
    ground_input = torch.cat([legs, torch.zeros_like(lower[..., LEGS.stop :])], dim=-1)
    if not rules.zero_contacts_for_global_net:
        ground_input[..., PART_CONTACT] = lower[..., PART_CONTACT]
    ground = bundle.global_net(ground_input)[..., PART_TRANSLATION]
    if rules.ground_velocity:
        # The network reads decoded legs, whose small movements are flattened, and loses a third of
        # the root's range. The decoded velocity keeps more of it and slides more
        # (docs/experiments.md).
        ground[..., ::2] = (ground[..., ::2] + lower[..., PART_TRANSLATION][..., ::2]) / 2
    return DecodedMotion(
        pose=pose,
        ground=ground,
        expressions=parts["face"][..., -EXPRESSION_DIM:],
    )


def assemble_pose(parts: PartMotion, chosen: tuple[Part, ...], rules: FidelityRules) -> Tensor:
    """Return the pose (B, n, 330) of the chosen parts; every other joint is at identity.

    Args:
        parts: Decoder outputs (B, n, D) of the four parts.
        chosen: Parts to include.
        rules: Published or corrected orthonormalisation.

    """
    like = parts["upper"]
    pose = torch.eye(2, 3, dtype=like.dtype, device=like.device).flatten()
    pose = pose.repeat(*like.shape[:2], JOINT_COUNT)
    for part in chosen:
        channels = pose_index(part, like.device)
        turned = orthonormalise(parts[part][..., : len(channels)], rules)
        pose.index_copy_(-1, channels, turned)
    return pose


def orthonormalise(pose: Tensor, rules: FidelityRules) -> Tensor:
    """Make 6D rotations (..., 6 J) orthonormal.

    Published synthesis converts to axis-angle and back with a formula that loses small angles. That
    formula amplifies the last bits of its input, and the rounding of PyTorch's norm depends on the
    memory layout: pass the decoder's output itself, not a copy of it, or parity is lost.
    """
    rotations = pose.unflatten(-1, (-1, 6))
    if rules.stable_axis_angle:
        return matrix_to_6d(matrix_from_6d(rotations)).flatten(-2)
    return axis_angle_to_6d(axis_angle_from_6d(rotations, formula="published")).flatten(-2)


def root_path(ground: Tensor, start: Tensor, bounds: Bounds | None) -> Tensor:
    """Return translations (B, n, 3) in metres.

    Args:
        ground: Ground velocity and height (B, n, 3).
        start: Translation (B, 3) of the first frame; x and z are used.
        bounds: How far the root may go. If None, any distance, as published.

    """
    free = integrate_ground(ground, start.to(ground))
    if bounds is None:
        return free
    plane = [0, 2]
    free[..., plane] = integrate_within(
        ground[..., plane], start[..., plane], bounds.centre[..., plane], bounds.reach
    ).to(free)
    return free


def to_smplx(
    decoded: DecodedMotion,
    lengths: Sequence[int],
    start: Tensor,
    rules: FidelityRules,
    bounds: Bounds | None = None,
) -> list[SmplxMotion]:
    """Convert decoded motion to axis-angle.

    Args:
        decoded: Motion (1, N) of B clips, end to end. Their eyes are at identity, so they look
            straight ahead.
        lengths: Number of frames of each clip.
        start: Translation (B, 3) of the first frames in metres; x and z are used.
        rules: Published or corrected conversion.
        bounds: How far the roots may go. If None, any distance, as published.

    Returns:
        Motion of each clip at 30 fps.

    """
    sizes = list(lengths)
    ground = pad_sequence(decoded.ground[0].split(sizes), batch_first=True)
    paths = root_path(ground, start, bounds).float().cpu().numpy()
    poses = axis_angle_from_6d(
        decoded.pose[0].unflatten(-1, (JOINT_COUNT, 6)),
        formula="roma" if rules.stable_axis_angle else "published",
    ).flatten(1)
    parts = zip(
        _to_cpu(poses.split(sizes)),
        _to_cpu(decoded.expressions[0].split(sizes)),
        paths,
        strict=True,
    )
    return [
        SmplxMotion(poses=pose, expressions=face, trans=path[: len(face)].copy())
        for pose, face, path in parts
    ]


def _to_cpu(clips: Sequence[Tensor]) -> list[NDArray[np.float32]]:
    """Return arrays of clips, on a GPU in pinned memory.

    A GPU writes to new memory of a process at 1.3 GB/s, and to pinned memory at 50 GB/s.
    """
    if not clips[0].is_cuda:
        return [clip.cpu().numpy() for clip in clips]
    pinned = [torch.empty(clip.shape, dtype=clip.dtype, pin_memory=True) for clip in clips]
    for place, clip in zip(pinned, clips, strict=True):
        place.copy_(clip, non_blocking=True)
    torch.cuda.current_stream().synchronize()
    return [place.numpy() for place in pinned]


def decoder_reach(bundle: Bundle) -> int:
    """Return how many neighbouring frames to either side affect a decoded frame.

    The reach of the part decoders plus that of the global-motion network, which reads the legs.
    """
    return part_reach(bundle) + _convolution_reach(bundle.global_net)


def part_reach(bundle: Bundle) -> int:
    """Return the reach of the part decoders alone; 0 if the generator predicts motion."""
    if not bundle.generator.predicts_codes:
        return 0
    return max(_convolution_reach(network.decoder) for network in bundle.part_networks.values())


def _convolution_reach(network: nn.Module) -> int:
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv1d)]
    return sum(module.dilation[0] * (module.kernel_size[0] - 1) // 2 for module in convolutions)


def join_codes(windows: Iterable[Codes], frames: int | None = None) -> Codes:
    """Join the codes (B, n) of consecutive windows and keep the first `frames` frames."""
    parts = list(windows)
    joined = {}
    for part in PARTS:
        codes = [window[part] for window in parts]
        joined[part] = torch.cat(codes, dim=1)[:, :frames]
    return joined
