"""The motion auto-encoder behind FGD: a skeleton-aware encoder as published, and a decoder of ours
to train it.

The encoder halves the rate four times and pools 55 bones to 35 and to 20. Its group norms run over
the whole length, so features depend on how long a clip is: never compare windows with whole clips.
Source: published `VAESKConv`, encoder.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from mambatalk.errors import InputError
from mambatalk.models.fgd.skeleton_graph import Bone, bones_of, neighbours, pool
from mambatalk.motion.skeleton import PARENTS, POSE_DIM

BONES_LEFT = 20
GROUPS = 10
STRIDE = 16
"""Frames to one feature."""


class BoneConv(nn.Conv1d):
    """A convolution that lets a bone see only bones near it."""

    mask: Tensor

    def __init__(
        self,
        bones: Sequence[Bone],
        channels_in: int,
        channels_out: int,
        *,
        kernel: int,
        padding: int,
    ) -> None:
        count = len(bones)
        super().__init__(
            count * channels_in, count * channels_out, kernel, stride=2, padding=padding
        )
        near = torch.from_numpy(neighbours(bones))
        mask = near.repeat_interleave(channels_out, 0).repeat_interleave(channels_in, 1)
        self.register_buffer("mask", mask[..., None].to(self.weight.dtype), persistent=False)
        # A bone hears few others: counted as if it heard all, weights begin so small that motion
        # fades on the way.
        heard = mask.sum(1)[:, None, None] * kernel
        nn.init.uniform_(self.weight, -1, 1)
        self.weight.data.mul_(self.mask * (3 / heard).sqrt())

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) to (B, C', T / 2)."""
        return functional.conv1d(x, self.weight * self.mask, self.bias, self.stride, self.padding)


class BoneBlock(nn.Module):
    """Residual and shortcut convolutions, then pooling where the skeleton has chains left, then
    tanh.
    """

    pooling: Tensor

    def __init__(self, bones: Sequence[Bone], channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.residual = BoneConv(bones, channels_in, channels_out, kernel=4, padding=1)
        self.norm = nn.GroupNorm(GROUPS, len(bones) * channels_out)
        self.shortcut = BoneConv(bones, channels_in, channels_out, kernel=1, padding=0)
        self.bones, groups = pool(bones)
        matrix = torch.zeros(len(groups), len(bones))
        for row, group in zip(matrix, groups, strict=True):
            row[list(group)] = 1 / len(group)
        self.register_buffer(
            "pooling", torch.kron(matrix, torch.eye(channels_out)), persistent=False
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) to (B, C', T / 2); T even."""
        x = self.norm(self.residual(x)) + self.shortcut(x)
        return torch.tanh(x if len(self.pooling) == x.shape[1] else self.pooling @ x)


class FGDEncoder(nn.Module):
    """6D poses to features.

    Args:
        latent: Channels of a feature, a multiple of 20; 240 as published.
        parents: Kinematic tree.

    Raises:
        InputError: `latent` is no multiple of 20.

    """

    def __init__(self, latent: int = 240, parents: Sequence[int] = PARENTS) -> None:
        super().__init__()
        if latent % BONES_LEFT:
            raise InputError(
                "FGD encoder: latent",
                f"expected a multiple of {BONES_LEFT}, the bones left, found {latent}",
                "take 240 as published, or a smaller multiple",
            )
        self.latent = latent
        last = latent // BONES_LEFT
        bones, blocks = bones_of(parents), []
        for channels_in, channels_out in pairwise((6, 6, 6, last, last)):
            blocks.append(BoneBlock(bones, channels_in, channels_out))
            bones = blocks[-1].bones
        self.blocks = nn.Sequential(*blocks)

    def forward(self, pose: Tensor) -> Tensor:
        """(B, n, 330), n a multiple of 16, to (B, n / 16, latent) in (-1, 1)."""
        return self.blocks(pose.transpose(1, 2)).transpose(1, 2)


class FGDDecoder(nn.Module):
    """Features back to 6D poses; only the training of the encoder needs it."""

    def __init__(self, latent: int = 240, hidden: int = 256) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        for stage in range(4):
            blocks += [
                nn.ConvTranspose1d(hidden if stage else latent, hidden, 4, stride=2, padding=1),
                nn.LeakyReLU(0.2),
            ]
        self.blocks = nn.Sequential(*blocks, nn.Conv1d(hidden, POSE_DIM, 3, padding=1))

    def forward(self, features: Tensor) -> Tensor:
        """(B, m, latent) to (B, 16 m, 330)."""
        return self.blocks(features.transpose(1, 2)).transpose(1, 2)
