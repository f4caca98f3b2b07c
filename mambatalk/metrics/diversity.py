"""L1 diversity: mean distance of the joints from their mean position."""

from typing import get_args

import torch
from torch import Tensor

from mambatalk.metrics.variant import ClipMean, Variant, check_clip, check_variant


class L1Diversity(ClipMean):
    """Sum over joints and coordinates of |position - clip mean| in metres, averaged over frames.

    Joints are those of SMPL-X with translation and expression 0. Neither high nor low values are
    better as such: compare them with ground truth.

    Args:
        variant: `published` and `corrected` give the same number for one evaluation. The published
            code keeps its sums from one evaluation to the next. It also overwrites the caller's
            array with |position - mean|, which is why published BC is measured on folded positions
            (see `fold`). Neither happens here.

    Formula: `(1 / n) * sum |x[t, j, c] - mean over t of x[:, j, c]|` over n frames t, joints j and
    coordinates c.

    Source: published metrics (DIV in tables).

    """

    def __init__(self, *, variant: Variant = "corrected") -> None:
        super().__init__()
        self.variant = check_variant(variant, get_args(Variant))

    def update(self, joints: Tensor) -> None:
        """Add one clip of joints (n, 55, 3) in metres.

        Raises:
            ValueError: The joints are not those of one clip, or not finite.

        """
        check_clip("joints", joints)
        self.add(float(fold(joints.to(torch.float64)).sum() / len(joints)), len(joints))


def fold(joints: Tensor) -> Tensor:
    """Return |position - clip mean| of joints (n, J, 3), in which a path turns back at its mean."""
    return (joints - joints.mean(0)).abs()
