"""The motion auto-encoder behind FGD: the published encoder, and a decoder of ours to train it.

The skeleton-aware encoder halves the frame rate four times and pools 55 bones to 35 and to 20. Its
group norms run over the whole length, so features depend on the length of the clip: features of
windows must not be compared with those of whole clips. Source: published `VAESKConv`, encoder.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from mambatalk.errors import InputError
from mambatalk.models.fgd.skeleton_graph import Bone, bones_of, neighbours, pool
from mambatalk.motion.skeleton import PARENTS, POSE_DIM

POOLED_BONES = 20
GROUPS = 10
STRIDE = 16
"""Frames per feature."""


class BoneConv(nn.Conv1d):
    """A convolution of stride 2 in which each bone depends only on bones near it."""

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
        # The default initialisation counts the masked inputs too: weights become so small that
        # motion fades from layer to layer.
        fan_in = mask.sum(1)[:, None, None] * kernel
        nn.init.uniform_(self.weight, -1, 1)
        self.weight.data.mul_(self.mask * (3 / fan_in).sqrt())

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, T) to (B, C', T / 2)."""
        return functional.conv1d(x, self.weight * self.mask, self.bias, self.stride, self.padding)


class BoneBlock(nn.Module):
    """Residual and shortcut convolutions, pooling of bones while chains remain, and tanh."""

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
        """Map (B, C, T) to (B, C', T / 2); T must be even."""
        x = self.norm(self.residual(x)) + self.shortcut(x)
        return torch.tanh(x if len(self.pooling) == x.shape[1] else self.pooling @ x)


PUBLISHED_SHA256: Final = "5cd9566b24264f34d44003b3de62cdfd50aa85b7cdde2d369214599023c40f55"
"""sha256 of AESKConv_240_100.bin, from its Git LFS pointer in the public repositories of EMAGE."""
Origin = Literal["published", "home-made", "unknown"]
"""`unknown` is a checkpoint in the published form that is not the published file."""


class FGDEncoder(nn.Module):
    """Encoder from 6D poses to features.

    Args:
        latent: Channels of a feature, a multiple of 20; the published encoder has 240.
        parents: Kinematic tree.
        source: sha256 of the published checkpoint that the weights were read from. None for an
            encoder that was trained here.

    Raises:
        InputError: `latent` is not a multiple of 20.

    """

    def __init__(
        self,
        latent: int = 240,
        parents: Sequence[int] = PARENTS,
        *,
        source: str | None = None,
    ) -> None:
        super().__init__()
        self.source = source
        if latent % POOLED_BONES:
            raise InputError(
                "FGD encoder: latent",
                f"expected a multiple of {POOLED_BONES} (the pooled bones), found {latent}",
                "use 240 as published, or a smaller multiple",
            )
        self.latent = latent
        last = latent // POOLED_BONES
        bones = bones_of(parents)
        blocks = []
        for channels_in, channels_out in pairwise((6, 6, 6, last, last)):
            blocks.append(BoneBlock(bones, channels_in, channels_out))
            bones = blocks[-1].bones
        self.blocks = nn.Sequential(*blocks)

    @property
    def origin(self) -> Origin:
        """Where the weights come from; only features of one encoder can be compared."""
        if self.source is None:
            return "home-made"
        return "published" if self.source == PUBLISHED_SHA256 else "unknown"

    def forward(self, pose: Tensor) -> Tensor:
        """Map poses (B, T, 330), T a multiple of 16, to features (B, T / 16, latent) in (-1, 1)."""
        return self.blocks(pose.transpose(1, 2)).transpose(1, 2)


class FGDDecoder(nn.Module):
    """Decoder from features to 6D poses, used only to train the encoder.

    Args:
        latent: Channels of a feature.
        hidden: Channels between its layers.

    """

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
        """Map features (B, m, latent) to poses (B, 16 m, 330)."""
        return self.blocks(features.transpose(1, 2)).transpose(1, 2)
