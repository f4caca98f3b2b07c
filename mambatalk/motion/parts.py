"""What each auto-encoder reads and writes: a window of motion cut into parts.

Corrected fidelity gives the lower body its velocity in x and z (m/s) with the absolute height y, in
place of the absolute position: codes then do not depend on where in the room a person stands, and
the decoded channels, which are supervised, integrate to a translation (`integrate_velocity`).
Published feeds the absolute position and never supervises what comes out. The global-motion net
writes (v_x, y, v_z) in both; it reads legs and seven zeros.
"""

import torch
from torch import Tensor

from mambatalk.fidelity import FidelityRules
from mambatalk.motion.kinematics import central_velocity, integrate_velocity
from mambatalk.motion.skeleton import CONTACT, TRANSLATION, AutoEncoder, pose_channels

LEGS = slice(0, 54)
PART_TRANSLATION = slice(54, 57)
PART_CONTACT = slice(57, 61)


def part_input(
    part: AutoEncoder, motion: Tensor, expressions: Tensor, *, rules: FidelityRules
) -> Tensor:
    """Channels (B, T, D) an auto-encoder reads, from motion (B, T, 337) and expressions (B, T,
    100).
    """
    if part == "global":
        legs = motion[..., pose_channels("lower")]
        return torch.cat([legs, legs.new_zeros(*legs.shape[:-1], 7)], dim=-1)
    rotations = motion[..., pose_channels(part)]
    if part == "face":
        return torch.cat([rotations, expressions], dim=-1)
    if part == "lower":
        trans = motion[..., TRANSLATION]
        place = ground_velocity(trans) if rules.ground_velocity else trans
        return torch.cat([rotations, place, motion[..., CONTACT]], dim=-1)
    return rotations


def ground_velocity(trans: Tensor) -> Tensor:
    """(v_x, y, v_z) in m/s and m of translations (..., T, 3)."""
    velocity = central_velocity(trans)
    return torch.stack([velocity[..., 0], trans[..., 1], velocity[..., 2]], dim=-1)


def integrate_ground(ground: Tensor, start: Tensor) -> Tensor:
    """Translations (..., T, 3) of (v_x, y, v_z) (..., T, 3) from x and z of `start` (..., 3)."""
    plane = integrate_velocity(ground[..., (0, 2)], start[..., (0, 2)])
    return torch.stack([plane[..., 0], ground[..., 1], plane[..., 1]], dim=-1)
