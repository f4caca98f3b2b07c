"""What the generator is shown of the motion, the same in training and synthesis."""

import torch
from torch import Tensor

from mambatalk.motion.skeleton import TRANSLATION


def full_mask(motion: Tensor, context_frames: int) -> Tensor:
    """Mask like motion (B, T, 337): True (hidden) everywhere but in the first frames."""
    mask = torch.ones_like(motion, dtype=torch.bool)
    mask[:, :context_frames] = False
    return mask


def relative_motion(motion: Tensor) -> Tensor:
    """Motion (B, T, 337) with x and z counted from the window's first frame; the height stays.

    Where in the room a person stands says nothing about what to do next. Corrected fidelity, in
    training and synthesis.
    """
    motion = motion.clone()
    plane = (TRANSLATION.start, TRANSLATION.stop - 1)
    motion[..., plane] -= motion[:, :1, plane]
    return motion
