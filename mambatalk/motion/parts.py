"""The channels that each auto-encoder reads and writes.

With the rule `ground_velocity` the lower body has its velocity in x and z (m/s) and the absolute
height y instead of the absolute position. Codes then do not depend on where in the room a person
is, and the decoded channels, which are supervised, integrate to a translation. Published code
reads the absolute position and does not supervise the decoded one. The global-motion network
writes (v_x, y, v_z) in both cases; it reads legs and seven zeros.
"""

import torch
from torch import Tensor

from mambatalk.fidelity import FidelityRules
from mambatalk.motion.indices import constant_index
from mambatalk.motion.kinematics import central_velocity, integrate_velocity
from mambatalk.motion.skeleton import CONTACT, TRANSLATION, AutoEncoderName, Part, pose_channels

LEGS = slice(0, 54)
PART_TRANSLATION = slice(54, 57)
PART_CONTACT = slice(57, 61)


def part_input(
    part: AutoEncoderName, motion: Tensor, expressions: Tensor, *, rules: FidelityRules
) -> Tensor:
    """Return the channels (B, T, D) that an auto-encoder reads.

    Args:
        part: The auto-encoder.
        motion: Motion channels (B, T, 337).
        expressions: Expression coefficients (B, T, 100).
        rules: Published or corrected behaviour.

    """
    if part == "global":
        legs = select_pose(motion, "lower")
        return torch.cat([legs, legs.new_zeros(*legs.shape[:-1], 7)], dim=-1)
    rotations = select_pose(motion, part)
    if part == "face":
        return torch.cat([rotations, expressions], dim=-1)
    if part == "lower":
        trans = motion[..., TRANSLATION]
        place = ground_velocity(trans) if rules.ground_velocity else trans
        return torch.cat([rotations, place, motion[..., CONTACT]], dim=-1)
    return rotations


def select_pose(motion: Tensor, part: Part) -> Tensor:
    """Return the pose channels (..., 6 J) of a part from motion channels (..., 337)."""
    return motion.index_select(-1, pose_index(part, motion.device))


def pose_index(part: Part, device: torch.device) -> Tensor:
    """Return the indices (6 J,) of a part's pose channels on a device."""
    return constant_index(tuple(pose_channels(part).tolist()), device)


def ground_velocity(trans: Tensor) -> Tensor:
    """Return (v_x, y, v_z) (..., T, 3) in m/s and m of translations (..., T, 3) in metres."""
    velocity = central_velocity(trans)
    return torch.stack([velocity[..., 0], trans[..., 1], velocity[..., 2]], dim=-1)


def integrate_ground(ground: Tensor, start: Tensor) -> Tensor:
    """Integrate (v_x, y, v_z) to translations (..., T, 3) in metres.

    Args:
        ground: Velocities and height (..., T, 3) in m/s and m.
        start: Translation (..., 3) of the first frame, of which x and z are used.

    """
    # A step of 2 takes x and z without an index, which would be copied to a GPU.
    plane = integrate_velocity(ground[..., ::2], start[..., ::2])
    return torch.stack([plane[..., 0], ground[..., 1], plane[..., 1]], dim=-1)
