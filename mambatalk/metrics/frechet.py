"""Frechet gesture distance (FGD) between two sets of motion features, from running sums."""

import warnings
from dataclasses import dataclass
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import linalg
from torch import Tensor
from torchmetrics import Metric

from mambatalk.metrics.variant import AnyVariant, check_variant

JITTER = 1e-6
"""The published code adds this to the diagonals of covariances whose product has no finite root."""
MAX_IMAGINARY = 1e-3
"""Largest imaginary part on the diagonal of a root that the published code accepts."""
ROWS_PER_DIMENSION = 10
"""With fewer feature rows per dimension, sampling error dominates the covariances."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Gaussian:
    """Mean (D,) and unbiased covariance (D, D) of a set of features."""

    mean: Array
    covariance: Array


class FrechetGestureDistance(Metric):
    """FGD over features that are added clip by clip.

    Memory is two (D, D) matrices, for any number of clips. Sums are float64, so that the order
    of clips and their split into batches change the result by rounding alone. With fewer than two
    rows on a side the distance is NaN. With fewer than ten rows per dimension it is inflated.

    Args:
        dim: Feature channels D; 240 in published numbers.
        variant: `published` computes scipy's root of the product of covariances and adds 1e-6 to
            the diagonals only where that root is not finite. An imaginary part above 1e-3, where
            the published code prints 1e10, gives NaN. `evaltools`, the newer public evaluator,
            always adds 1e-6. `corrected` computes the root of the symmetric product, whose
            eigenvalues are real and not negative, so that every distance is >= 0.

    Formula: `|m1 - m2|^2 + Tr(C1 + C2 - 2 sqrt(C1 C2))`, with mean m and covariance C of the
    features of either side.

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
        shapes: dict[str, tuple[int, ...]] = {"rows": (), "sum": (dim,), "outer": (dim, dim)}
        for side in ("generated", "truth"):
            for name, shape in shapes.items():
                zeros = torch.zeros(shape, dtype=torch.float64)
                self.add_state(f"{side}_{name}", zeros, dist_reduce_fx="sum")

    def update(self, features: Tensor, *, truth: bool) -> None:
        """Add features (..., D) of generated motion or of ground truth.

        Raises:
            ValueError: The number of channels is different, or a value is not finite.

        """
        if features.shape[-1:] != (self.dim,) or not features.isfinite().all():
            raise ValueError(
                f"FGD features: expected {self.dim} finite channels, found shape"
                f" {tuple(features.shape)} or a value that is not finite"
            )
        rows = features.detach().reshape(-1, self.dim).to(self.truth_sum)
        side = "truth" if truth else "generated"
        for name, value in (("rows", len(rows)), ("sum", rows.sum(0)), ("outer", rows.T @ rows)):
            setattr(self, f"{side}_{name}", getattr(self, f"{side}_{name}") + value)

    def compute(self) -> Tensor:
        """Return FGD (scalar, float64); NaN where a side has fewer than two rows."""
        if self.rows < 2:
            return torch.tensor(torch.nan, dtype=torch.float64)
        a, b = self._gaussian("generated"), self._gaussian("truth")
        return torch.tensor(frechet_distance(a, b, variant=self.variant), dtype=torch.float64)

    @property
    def rows(self) -> int:
        """Number of feature rows of the side with fewer."""
        return min(int(self.generated_rows), int(self.truth_rows))

    def _gaussian(self, side: str) -> Gaussian:
        rows, total, outer = (
            getattr(self, f"{side}_{name}").cpu().numpy() for name in ("rows", "sum", "outer")
        )
        return gaussian_of_sums(rows, total, outer)


def gaussian_of_sums(rows: Array, total: Array, outer: Array) -> Gaussian:
    """Return mean and unbiased covariance of feature rows.

    Args:
        rows: Number of rows.
        total: Sum of the rows (D,).
        outer: Sum of their outer products (D, D).

    """
    mean = total / rows
    return Gaussian(mean, (outer - rows * np.outer(mean, mean)) / (rows - 1))


def frechet_distance(a: Gaussian, b: Gaussian, *, variant: AnyVariant = "corrected") -> float:
    """Return |mean difference|^2 + Tr(A + B - 2 sqrt(A B)).

    The variants agree to rounding on covariances of full rank. The result is NaN where the
    published root is imaginary.

    Args:
        a: Moments of the generated motion.
        b: Moments of the ground truth.
        variant: How the root is computed; see `FrechetGestureDistance`.

    """
    if variant == "corrected":
        root = _trace_of_root(a.covariance, b.covariance)
    else:
        root = _published_trace_of_root(a, b, variant)
    difference = a.mean - b.mean
    distance = difference @ difference + np.trace(a.covariance) + np.trace(b.covariance) - 2 * root
    return max(float(distance), 0.0) if variant == "corrected" else float(distance)


def _trace_of_root(a: Array, b: Array) -> float:
    """Return Tr sqrt(A B), from sqrt(A) B sqrt(A): it has the same eigenvalues and is symmetric."""
    values, vectors = np.linalg.eigh(a)
    half = vectors * np.sqrt(values.clip(min=0)) @ vectors.T
    return float(np.sqrt(np.linalg.eigvalsh(half @ b @ half).clip(min=0)).sum())


def _published_trace_of_root(a: Gaussian, b: Gaussian, variant: AnyVariant) -> float:
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
        # The caller handles the roots of singular products.
        warnings.simplefilter("ignore", linalg.LinAlgWarning)
        return np.asarray(linalg.sqrtm(product))
