"""L1 diversity: how far joints stray from where they are on average."""

from typing import get_args

import torch
from torch import Tensor

from mambatalk.metrics.variant import ClipMean, Variant, check_clip, check_variant


class L1Diversity(ClipMean):
    """Sum over joints and coordinates of |position - clip mean|, in metres, averaged over all
    frames of all clips.

    Joints are those of SMPL-X with translation and expression 0. Higher is not better: read it
    against ground truth.

    Args:
        variant: `published` and `corrected` give the same number for one evaluation. The published
            code keeps its sums from one evaluation to the next, and writes |position - mean| over
            the caller's array, which is why published BC is measured on folded positions (see
            `fold`); here neither happens.

    Source: published metrics (DIV in tables).

    """

    def __init__(self, *, variant: Variant = "corrected") -> None:
        super().__init__()
        self.variant = check_variant(variant, get_args(Variant))

    def update(self, joints: Tensor) -> None:
        """Add one clip of joints (n, 55, 3) in metres; the argument is left as it is.

        Raises:
            InputError: They are not one clip, or not finite.

        """
        check_clip("joints", joints)
        self.add(float(fold(joints.to(torch.float64)).sum() / len(joints)), len(joints))


def fold(joints: Tensor) -> Tensor:
    """|position - clip mean| of joints (n, J, 3): every path mirrored about its mean, as published
    BC sees it.
    """
    return (joints - joints.mean(0)).abs()
