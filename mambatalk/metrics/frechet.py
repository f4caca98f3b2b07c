"""Frechet gesture distance (FGD): how far two sets of motion features lie apart as Gaussians, in
running sums.
"""

import warnings
from dataclasses import dataclass
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import linalg
from torch import Tensor
from torchmetrics import Metric

from mambatalk.errors import InputError
from mambatalk.metrics.variant import AnyVariant, check_variant

JITTER = 1e-6
"""What the published code adds to the covariances' diagonals where their product has no finite
root.
"""
MAX_IMAGINARY = 1e-3
ROWS_PER_DIMENSION = 10
"""Below this many feature rows for each dimension the covariances say more about the sample than
about the motion.
"""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Gaussian:
    """Mean (D,) and unbiased covariance (D, D) of a set of features."""

    mean: Array
    covariance: Array


class FrechetGestureDistance(Metric):
    """FGD over features that arrive clip by clip; memory is 2 (D, D) matrices whatever the number
    of clips.

    Sums are float64, so the order of clips and their split into batches change the result by
    rounding alone. Two rows on each side are the least; below that the distance is NaN. Fewer rows
    than dimensions (`rows < 10 * dim` even) inflate it: see `estimable`.

    Args:
        dim: Feature channels D; 240 in published numbers.
        variant: `published` takes scipy's root of the product of covariances, and 1e-6 is added to
            the diagonals only where that root is not finite; an imaginary part above 1e-3, where
            the published code prints 1e10, is NaN. `evaltools`, the newer public evaluator, always
            adds 1e-6. `corrected` takes the root of the symmetric product, whose eigenvalues are
            real and not negative, so that every pair of sets has a distance >= 0.

    Source: published metrics; paper, section 4 (FGD).

    """

    full_state_update = False
    higher_is_better = False
    generated_rows: Tensor
    truth_rows: Tensor
    truth_sum: Tensor

    def __init__(self, dim: int = 240, *, variant: AnyVariant = "corrected") -> None:
        super().__init__()
        self.dim = dim
        self.variant = check_variant(variant, get_args(AnyVariant))
        for side in ("generated", "truth"):
            self.add_state(
                f"{side}_rows", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum"
            )
            self.add_state(
                f"{side}_sum", torch.zeros(dim, dtype=torch.float64), dist_reduce_fx="sum"
            )
            self.add_state(
                f"{side}_outer", torch.zeros(dim, dim, dtype=torch.float64), dist_reduce_fx="sum"
            )

    def update(self, features: Tensor, *, truth: bool) -> None:
        """Add features (..., D) of generated motion, or of ground truth.

        Raises:
            InputError: They have other channels, or a value is not finite.

        """
        if features.shape[-1:] != (self.dim,) or not features.isfinite().all():
            raise InputError(
                "FGD features",
                f"expected {self.dim} finite channels,"
                f" found shape {tuple(features.shape)}, or a value that is not finite",
                "take the encoder that the metric was made for",
            )
        rows = features.detach().reshape(-1, self.dim).to(self.truth_sum)
        side = "truth" if truth else "generated"
        for name, value in (("rows", len(rows)), ("sum", rows.sum(0)), ("outer", rows.T @ rows)):
            setattr(self, f"{side}_{name}", getattr(self, f"{side}_{name}") + value)

    def compute(self) -> Tensor:
        """FGD (scalar, float64); NaN where a side has fewer than two rows."""
        if self.rows < 2:
            return torch.tensor(torch.nan, dtype=torch.float64)
        a, b = self._gaussian("generated"), self._gaussian("truth")
        return torch.tensor(frechet_distance(a, b, variant=self.variant), dtype=torch.float64)

    @property
    def rows(self) -> int:
        """Feature rows on the side that has fewer."""
        return min(int(self.generated_rows), int(self.truth_rows))

    @property
    def estimable(self) -> bool:
        """Whether there are at least ten rows for each dimension; below that the number is
        inflated.
        """
        return self.rows >= ROWS_PER_DIMENSION * self.dim

    def _gaussian(self, side: str) -> Gaussian:
        return gaussian_of_sums(
            *(getattr(self, f"{side}_{name}").cpu().numpy() for name in ("rows", "sum", "outer"))
        )


def gaussian_of_sums(rows: Array, total: Array, outer: Array) -> Gaussian:
    """Mean and unbiased covariance from the count of rows, their sum (D,) and the sum of outer
    products (D, D).
    """
    mean = total / rows
    return Gaussian(mean, (outer - rows * np.outer(mean, mean)) / (rows - 1))


def frechet_distance(a: Gaussian, b: Gaussian, *, variant: AnyVariant = "corrected") -> float:
    """|mean difference|^2 + Tr(A + B - 2 sqrt(A B)); NaN where the published root is imaginary.

    The variants agree to rounding on covariances of full rank.
    """
    root = (
        _trace_of_root(a.covariance, b.covariance)
        if variant == "corrected"
        else _published_trace(a, b, variant)
    )
    difference = a.mean - b.mean
    distance = difference @ difference + np.trace(a.covariance) + np.trace(b.covariance) - 2 * root
    return max(float(distance), 0.0) if variant == "corrected" else float(distance)


def _trace_of_root(a: Array, b: Array) -> float:
    """Tr sqrt(A B) through sqrt(A) B sqrt(A), which has the same eigenvalues and is symmetric."""
    values, vectors = np.linalg.eigh(a)
    half = vectors * np.sqrt(values.clip(min=0)) @ vectors.T
    return float(np.sqrt(np.linalg.eigvalsh(half @ b @ half).clip(min=0)).sum())


def _published_trace(a: Gaussian, b: Gaussian, variant: AnyVariant) -> float:
    jitter = JITTER * np.eye(len(a.mean))
    with np.errstate(all="ignore"):
        root = None if variant == "evaltools" else _root(a.covariance @ b.covariance)
        if root is None or not np.isfinite(root).all():
            root = _root((a.covariance + jitter) @ (b.covariance + jitter))
    if np.abs(np.diagonal(root).imag).max() > MAX_IMAGINARY:
        return float("nan")
    return float(np.trace(root.real))


def _root(product: Array) -> NDArray[np.complexfloating]:
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", linalg.LinAlgWarning
        )  # A singular product is looked at by the caller.
        return np.asarray(linalg.sqrtm(product))
