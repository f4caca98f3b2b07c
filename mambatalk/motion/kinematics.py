"""Motion over time at 30 frames per second: foot contacts, velocities, and the kinematic chain."""

from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mambatalk.motion.indices import select
from mambatalk.motion.skeleton import FOOT_JOINTS, FPS, PARENTS

CONTACT_STEP = 0.01
"""A foot joint is in contact if it moves less than this many metres to the next frame (0.3 m/s)."""

FLOOR_TOLERANCE = 0.03
"""Height above its own lowest point within which a foot is on the floor, metres."""
FLOOR_PERCENTILE = 2
"""Percentile of the foot heights that is taken as the floor; robust against single frames."""


def foot_contacts(joints: Tensor) -> Tensor:
    """Return foot contacts (..., T, 4) in {0, 1} from joints (..., T, 55, 3) in metres.

    Contact t compares frames t and t + 1. The last frame has no next one and counts as contact.
    Source: published loaders.
    """
    return contacts_of_feet(joints[..., FOOT_JOINTS, :])


def contacts_of_feet(feet: Tensor) -> Tensor:
    """Return foot contacts (..., T, 4) from the positions (..., T, 4, 3) of ankles and feet."""
    step = (feet[..., 1:, :, :] - feet[..., :-1, :, :]).norm(dim=-1)
    step = torch.cat([step, torch.zeros_like(feet[..., :1, :, 0])], dim=-2)
    return (step < CONTACT_STEP).to(feet.dtype)


def floor_height(feet: NDArray[Any]) -> float:
    """Return the height of the floor below a standing person, in metres.

    Args:
        feet: Ankles and feet (n, 4, 3) in metres. Joints are inside the foot, so that the floor is
            the height of the lowest joint of a standing body and not that of its soles.

    """
    return float(np.percentile(feet[..., 1], FLOOR_PERCENTILE))


def foot_sliding_speed(feet: NDArray[Any]) -> float:
    """Return the mean horizontal speed of feet on the floor, in metres per second.

    A joint is on the floor while it is within 3 cm of its own lowest height (percentile
    `FLOOR_PERCENTILE`, so that single frames do not count). Contact labels would not show sliding,
    because they mark slow feet.

    Args:
        feet: Ankles and feet (n, 4, 3) in metres.

    Returns:
        The speed; 0 for a single frame.

    """
    heights = feet[..., 1]
    slide = np.linalg.norm(np.diff(feet[..., (0, 2)], axis=0), axis=-1) * FPS
    lowest = np.percentile(heights, FLOOR_PERCENTILE, axis=0)
    on_floor = heights[:-1] < lowest + FLOOR_TOLERANCE
    return float(slide[on_floor].mean()) if on_floor.any() else 0.0


def central_velocity(position: Tensor) -> Tensor:
    """Return the velocity (..., T, C) per second of positions (..., T, C).

    Central differences, one-sided at both ends. A single frame has velocity 0. Source: published
    global-motion trainer, whose targets are x and z of this velocity.
    """
    if position.shape[-2] < 2:
        return torch.zeros_like(position)
    first = position[..., 1:2, :] - position[..., :1, :]
    last = position[..., -1:, :] - position[..., -2:-1, :]
    middle = (position[..., 2:, :] - position[..., :-2, :]) / 2
    return torch.cat([first, middle, last], dim=-2) * FPS


def integrate_velocity(velocity: Tensor, start: Tensor) -> Tensor:
    """Integrate velocities (..., T, C) per second to positions (..., T, C) by forward Euler.

    The first position is `start`, and the last velocity is not used. This is not the exact inverse
    of `central_velocity`. Source: published global-motion trainer.

    Args:
        velocity: Velocities (..., T, C) per second.
        start: Position (..., C) of the first frame.

    """
    steps = torch.cat([torch.zeros_like(velocity[..., :1, :]), velocity[..., :-1, :]], dim=-2) / FPS
    return start.unsqueeze(-2) + steps.cumsum(dim=-2)


def integrate_within(velocity: Tensor, start: Tensor, centre: Tensor, reach: float) -> Tensor:
    """Integrate velocities like `integrate_velocity`, but never farther than `reach` from a point.

    The part of a velocity that leads away from the centre is reduced by the eighth power of the
    distance over `reach`: by 6 % at 0.7 of the reach, entirely at the reach. Nearer to the centre
    and on the way back the motion is that of the velocities.

    Args:
        velocity: Velocities (B, T, 2) per second.
        start: Position (B, 2) of the first frame.
        centre: Point (B, 2) that the distance is measured from.
        reach: Largest distance, positive.

    Returns:
        Positions (B, T, 2) in double precision, on the CPU.

    """
    steps = (velocity.double() / FPS).cpu().numpy()
    middle = centre.double().cpu().numpy()
    position = start.double().cpu().numpy()
    path = [position]
    for step in steps[:, :-1].swapaxes(0, 1):
        distance, away = _length_and_direction(position - middle)
        outward = np.maximum((step * away).sum(axis=-1, keepdims=True), 0)
        allowed = step - outward * np.minimum(1, (distance / reach) ** 8) * away

        # A long step from well inside would leap over the border: stop there.
        length, direction = _length_and_direction(position + allowed - middle)
        position = middle + np.minimum(length, np.maximum(reach, distance)) * direction
        path.append(position)
    return torch.from_numpy(np.stack(path, axis=1))


def _length_and_direction(vectors: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the length (B, 1) and the unit vectors (B, 2) of vectors (B, 2); zero stays zero."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return length, vectors / np.maximum(length, np.finfo(float).tiny)


def pose_chain(rotations: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:
    """Compute global rotations and positions along the kinematic tree.

    Args:
        rotations: Local rotation matrices (N, 55, 3, 3).
        rest: Rest joints (N, 55, 3) in metres.

    Returns:
        Rotations (N, 55, 3, 3) and positions (N, 55, 3) in the body's frame.

    """
    # All joints of one depth are computed together: 10 steps instead of 54. Each step is a sum of
    # products, because libraries are slow at many 3 x 3 matrices (smplx spends most of a training
    # step there). Frames are the last axis, which is three times faster than the first.
    bones = torch.cat([rest[:, :1], rest[:, 1:] - select(rest, 1, PARENTS[1:])], dim=1).permute(
        2, 1, 0
    )
    local = rotations.permute(2, 3, 1, 0).contiguous()
    turned = [local[:, :, :1]]
    placed = [bones[:, :1]]
    for joints, parents in _levels():
        above = select(turned[-1], 2, parents)
        bone = select(bones, 1, joints)
        offset = above[:, 0] * bone[0] + above[:, 1] * bone[1] + above[:, 2] * bone[2]
        placed.append(select(placed[-1], 1, parents) + offset)
        turned.append(_product(above, select(local, 2, joints)))

    return (
        select(torch.cat(turned, dim=2), 2, _order()).permute(3, 2, 0, 1).contiguous(),
        select(torch.cat(placed, dim=1), 1, _order()).permute(2, 1, 0).contiguous(),
    )


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Multiply 3 x 3 matrices (3, 3, ...)."""
    return a[:, 0, None] * b[None, 0] + a[:, 1, None] * b[None, 1] + a[:, 2, None] * b[None, 2]


@cache
def _levels() -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Return the joints of each depth below the root, with the places of their parents.

    A place is the index among the joints of the depth above.
    """
    levels = []
    above = [0]
    while joints := [joint for joint, parent in enumerate(PARENTS) if parent in above]:
        levels.append((tuple(joints), tuple(above.index(PARENTS[joint]) for joint in joints)))
        above = joints
    return levels


@cache
def _order() -> tuple[int, ...]:
    """Return the place of each joint in the concatenation of all levels."""
    joints_by_level = [0, *(joint for joints, _ in _levels() for joint in joints)]
    return tuple(joints_by_level.index(joint) for joint in range(len(joints_by_level)))
