"""Kernel distance (KID) between two sets of motion features."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.data import dim_zero_cat

DEGREE: Final = 3
"""Degree of the polynomial kernel (x y / D + 1)^3."""

ROWS: Final = 512
"""Rows of one side that are compared at a time, which bounds the memory."""

Array = NDArray[np.float64]


class KernelDistance(Metric):
    """Unbiased estimate of the squared maximum mean discrepancy (MMD) with a polynomial kernel.

    The Kernel Inception Distance, with features of the FGD encoder instead of an image network.
    Unlike FGD it assumes no normal distribution, and few feature rows do not inflate it: its
    expectation is 0 if both sides have one distribution, so that single estimates can be negative.

    Features are kept: 240 channels in single precision are 1 kB for every 16 frames of motion.
    Rows of one clip are not independent, which the kernel distance shares with FGD and which the
    interval over clips takes into account.

    Args:
        dim: Feature channels D.

    Formula: `mean k(x, x') + mean k(y, y') - 2 mean k(x, y)` over pairs of different rows x, x' of
    generated and y, y' of recorded motion, with `k(a, b) = (a b / D + 1)^3`.

    Source: Binkowski et al., Demystifying MMD GANs, 2018 (KID), over all rows instead of random
    subsets.

    """

    full_state_update = False
    higher_is_better = False
    generated: list[Tensor]
    truth: list[Tensor]

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.add_state("generated", [], dist_reduce_fx="cat")
        self.add_state("truth", [], dist_reduce_fx="cat")

    def update(self, features: Tensor, *, truth: bool) -> None:
        """Add features (m, D) of one clip of generated motion or of ground truth.

        Raises:
            ValueError: The number of channels is different, or a value is not finite.

        """
        if features.shape[-1:] != (self.dim,) or not features.isfinite().all():
            raise ValueError(
                f"features: expected {self.dim} finite channels, found shape"
                f" {tuple(features.shape)} or a value that is not finite"
            )
        (self.truth if truth else self.generated).append(features.detach().reshape(-1, self.dim))

    def compute(self) -> Tensor:
        """Return the distance (scalar, float64); NaN where a side has fewer than two rows."""
        if not self.generated or not self.truth:
            return torch.tensor(torch.nan, dtype=torch.float64)
        sums = kernel_sums([dim_zero_cat(self.generated)], [dim_zero_cat(self.truth)])
        return torch.tensor(sums.distance(), dtype=torch.float64)


@dataclass(frozen=True)
class KernelSums:
    """Sums of the kernel over pairs of rows, by pairs of clips, and the number of rows by clip.

    The distance of all clips, and of all but one, follows from them without the features.
    """

    generated: Array
    """Sums (A, A) over pairs of generated rows, a row with itself left out."""
    truth: Array
    """The same (B, B) of ground truth."""
    mixed: Array
    """Sums (A, B) over pairs of a generated row and one of ground truth."""
    generated_rows: Array
    """Number of rows (A,) of each generated clip."""
    truth_rows: Array
    """Number of rows (B,) of each clip of ground truth."""

    def distance(self) -> float:
        """Return the unbiased squared MMD; NaN where a side has fewer than two rows."""
        generated = self.generated_rows.sum()
        truth = self.truth_rows.sum()
        if min(generated, truth) < 2:
            return float("nan")
        return float(
            self.generated.sum() / (generated * (generated - 1))
            + self.truth.sum() / (truth * (truth - 1))
            - 2 * self.mixed.sum() / (generated * truth)
        )

    def without(self, clip: int) -> "KernelSums":
        """Return the sums without one clip, which both sides have at the same place."""
        rest = np.delete(np.arange(len(self.generated_rows)), clip)
        return KernelSums(
            self.generated[np.ix_(rest, rest)],
            self.truth[np.ix_(rest, rest)],
            self.mixed[np.ix_(rest, rest)],
            self.generated_rows[rest],
            self.truth_rows[rest],
        )


def kernel_sums(generated: Sequence[Tensor], truth: Sequence[Tensor]) -> KernelSums:
    """Sum the kernel over pairs of features (m, D), by pairs of clips."""
    return KernelSums(
        _sums(generated, generated, same=True),
        _sums(truth, truth, same=True),
        _sums(generated, truth, same=False),
        *(np.array([len(clip) for clip in side], np.float64) for side in (generated, truth)),
    )


def _sums(first: Sequence[Tensor], second: Sequence[Tensor], *, same: bool) -> Array:
    sums = np.zeros((len(first), len(second)))
    for i, a in enumerate(first):
        for j, b in enumerate(second):
            if same and j < i:
                sums[i, j] = sums[j, i]
                continue
            sums[i, j] = sum(float(_kernel(rows, b).sum()) for rows in a.split(ROWS))
            if same and i == j:
                # A row with itself, for which x y is |x|^2.
                norms = a.double().square().sum(dim=1)
                sums[i, j] -= float((norms / a.shape[1] + 1).pow(DEGREE).sum())
    return sums


def _kernel(a: Tensor, b: Tensor) -> Tensor:
    return (a.double() @ b.double().T / a.shape[1] + 1).pow(DEGREE)
