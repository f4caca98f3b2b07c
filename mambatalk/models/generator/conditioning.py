"""Preparation of the generator's input motion, used by training and synthesis."""

import torch
from torch import Tensor

from mambatalk.motion.skeleton import TRANSLATION


def full_mask(motion: Tensor, context_frames: int | Tensor) -> Tensor:
    """Create the mask that hides all motion except the first frames.

    Args:
        motion: Motion (B, T, 337).
        context_frames: Number of visible frames at the start of the window, or of each window (B,).

    Returns:
        Boolean mask (B, T, 337), True where motion is hidden.

    """
    if isinstance(context_frames, Tensor):
        frames = torch.arange(motion.shape[1], device=motion.device)
        return (frames >= context_frames[:, None])[..., None].expand_as(motion)
    mask = torch.ones_like(motion, dtype=torch.bool)
    mask[:, :context_frames] = False
    return mask


def relative_motion(motion: Tensor) -> Tensor:
    """Subtract the window's first x and z from the translation; the height y is not changed.

    The position of a person in the room carries no information about the next motion. Corrected
    fidelity uses this in training and synthesis.

    Args:
        motion: Motion (B, T, 337), translation in metres.

    Returns:
        New motion (B, T, 337).

    """
    motion = motion.clone()
    # Channel by channel: a list of indices would be copied to the GPU in every call.
    for channel in (TRANSLATION.start, TRANSLATION.stop - 1):
        motion[..., channel] -= motion[:, :1, channel].clone()
    return motion
