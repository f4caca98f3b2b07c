"""Motion over time: foot contacts, velocities and the way back from velocity to position. 30 frames
a second.
"""

from functools import cache

import torch
from torch import Tensor

from mambatalk.motion.skeleton import FOOT_JOINTS, FPS, PARENTS

CONTACT_STEP = 0.01
"""A foot joint that moves less than this many metres to the next frame (0.3 m/s) is planted."""


def foot_contacts(joints: Tensor) -> Tensor:
    """Foot contacts (..., T, 4) in {0, 1} from joints (..., T, 55, 3) in metres.

    Contact t looks one frame ahead; the last frame has none and counts as planted. Source:
    published loaders.
    """
    return contacts_of_feet(joints[..., FOOT_JOINTS, :])


def contacts_of_feet(feet: Tensor) -> Tensor:
    """Foot contacts (..., T, 4) from the positions (..., T, 4, 3) of ankles and feet in metres."""
    step = (feet[..., 1:, :, :] - feet[..., :-1, :, :]).norm(dim=-1)
    step = torch.cat([step, torch.zeros_like(feet[..., :1, :, 0])], dim=-2)
    return (step < CONTACT_STEP).to(feet.dtype)


def central_velocity(position: Tensor) -> Tensor:
    """Velocity (..., T, C) per second of positions (..., T, C): central differences, one-sided at
    both ends.

    A single frame has velocity 0.
    Source: published global-motion trainer, whose targets are the x and z of this.
    """
    if position.shape[-2] < 2:
        return torch.zeros_like(position)
    first = position[..., 1:2, :] - position[..., :1, :]
    last = position[..., -1:, :] - position[..., -2:-1, :]
    middle = (position[..., 2:, :] - position[..., :-2, :]) / 2
    return torch.cat([first, middle, last], dim=-2) * FPS


def integrate_velocity(velocity: Tensor, start: Tensor) -> Tensor:
    """Positions (..., T, C) from velocities (..., T, C) per second by forward Euler: p[0] = start
    (..., C).

    The last velocity moves nothing. Not the exact inverse of `central_velocity`. Source: published
    global-motion trainer.
    """
    steps = torch.cat([torch.zeros_like(velocity[..., :1, :]), velocity[..., :-1, :]], dim=-2) / FPS
    return start.unsqueeze(-2) + steps.cumsum(dim=-2)


def pose_chain(rotations: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:
    """Follow the kinematic tree: rotations (N, 55, 3, 3) and positions (N, 55, 3) in the body's
    frame.

    All joints of one depth go together: ten steps in place of 54, each a sum of products, since
    libraries are slow at heaps of 3 x 3 matrices (`smplx` spends most of a training step there).
    Frames lie side by side in memory while the tree is followed, which is three times faster than
    joint by joint.

    Args:
        rotations: Local rotation matrices (N, 55, 3, 3).
        rest: Rest joints (N, 55, 3) in metres.

    """
    bones = torch.cat([rest[:, :1], rest[:, 1:] - rest[:, PARENTS[1:]]], dim=1).permute(2, 1, 0)
    local = rotations.permute(2, 3, 1, 0).contiguous()
    turned, placed = [local[:, :, :1]], [bones[:, :1]]
    for joints, parents in _levels():
        above, bone = turned[-1][:, :, parents], bones[:, joints]
        placed.append(
            placed[-1][:, parents]
            + (above[:, 0] * bone[0] + above[:, 1] * bone[1] + above[:, 2] * bone[2])
        )
        turned.append(_product(above, local[:, :, joints]))
    order = _order(rotations.device)
    return (
        torch.cat(turned, dim=2)[:, :, order].permute(3, 2, 0, 1).contiguous(),
        torch.cat(placed, dim=1)[:, order].permute(2, 1, 0).contiguous(),
    )


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Products of 3 x 3 matrices (3, 3, ...), column by row."""
    return a[:, 0, None] * b[None, 0] + a[:, 1, None] * b[None, 1] + a[:, 2, None] * b[None, 2]


@cache
def _levels() -> list[tuple[list[int], list[int]]]:
    """For each depth below the root: its joints, and the places of their parents among those of the
    depth above.
    """
    levels, above = [], [0]
    while joints := [joint for joint, parent in enumerate(PARENTS) if parent in above]:
        levels.append((joints, [above.index(PARENTS[joint]) for joint in joints]))
        above = joints
    return levels


@cache
def _order(device: torch.device) -> Tensor:
    """Place of each joint where the levels are laid end to end."""
    laid = [0, *(joint for joints, _ in _levels() for joint in joints)]
    return torch.tensor(laid, device=device).argsort()
