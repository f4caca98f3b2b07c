"""Reference arrays of the published implementation, and comparison of ours with them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import roma
import torch
from torch import Tensor

from mambatalk.errors import InputError
from mambatalk.motion.rotations import matrix_from_6d
from mambatalk.published.keymap import Kind, Translation, translate

MODULE_TOLERANCE = 1e-5
ROLLOUT_TOLERANCE = 1e-4
ANGLE_TOLERANCE = 1e-4
"""Largest angle in radians between rotations that are compared by angle."""
SMALL_COMPONENT = 1e-3
"""The published formula is ill-conditioned for a quaternion component smaller than this: it is the
square root of a difference of numbers near 1, and their last bit moves it by more than 3e-5.
"""
LAST_BITS = 5e-7
"""Four last bits of single precision at 1."""
EXACT = 0.0
NEAR_TIE = 1e-6
"""If the scores of the two best codes differ by less than this share, rounding decides."""


@dataclass(frozen=True)
class Measure:
    """Comparison of one quantity with its published value."""

    file: str
    """Name of the fixture."""
    quantity: str
    error: float
    """Relative error; an angle in radians; or, where the tolerance is 0, the share of entries that
    differ.
    """
    tolerance: float
    """Largest error that passes."""
    note: str = ""

    @property
    def ok(self) -> bool:
        """Whether the error is within its tolerance. NaN is not."""
        return self.error <= self.tolerance


class Fixture:
    """The arrays of one npz file as tensors, half precision converted to single.

    Args:
        path: File of reference arrays.

    Raises:
        InputError: The file cannot be read.

    """

    def __init__(self, path: Path) -> None:
        self.name = path.stem
        self._path = path
        try:
            with np.load(path, allow_pickle=False) as arrays:
                self._arrays = {key: _tensor(arrays[key]) for key in arrays.files}
        # A damaged file can raise errors of zipfile, zlib, numpy and tokenize.
        except Exception as error:
            raise InputError(
                path,
                f"expected an npz of reference arrays, found an unreadable file ({error})",
                "download or make the file again",
            ) from error

    def __getitem__(self, key: str) -> Tensor:
        if key not in self._arrays:
            raise InputError(
                self._path,
                f"expected the arrays of {self.name}, found no array {key!r}",
                "make the file again with the published implementation",
            )
        return self._arrays[key]

    def sibling(self, name: str) -> "Fixture":
        """Read another fixture of the same folder."""
        return Fixture(self._path.with_name(f"{name}.npz"))

    def group(self, prefix: str) -> Mapping[str, Tensor]:
        """Return the arrays whose names start with `prefix/`, by the rest of the name."""
        start = f"{prefix}/"
        return {
            key.removeprefix(start): value
            for key, value in self._arrays.items()
            if key.startswith(start)
        }

    def state(self, kind: Kind, prefix: str = "state") -> Translation:
        """Return a published state dict under our names."""
        return translate(self.group(prefix), kind, where=str(self._path))

    def close(
        self,
        quantity: str,
        ours: Tensor,
        key: str | None = None,
        *,
        tolerance: float = MODULE_TOLERANCE,
    ) -> Measure:
        """Compare with the array `key` (by default named as the quantity) by relative error.

        Args:
            quantity: Name of the quantity.
            ours: Our array.
            key: Name of the published array. If None, `quantity`.
            tolerance: Largest error that passes.

        """
        return Measure(self.name, quantity, relative_error(ours, self[key or quantity]), tolerance)

    def rotations(self, quantity: str, ours: Tensor, *, tolerance: float) -> Iterator[Measure]:
        """Compare rotations (..., J * 6) in 6D form, which went through published axis-angle.

        Those with a component that the published formula cannot resolve are compared by angle, all
        others by relative error.
        """
        theirs = self[quantity]
        if ours.shape != theirs.shape:
            yield Measure(self.name, quantity, float("inf"), tolerance)
            return
        ours = ours.unflatten(-1, (-1, 6))
        theirs = theirs.unflatten(-1, (-1, 6))
        small = ill_conditioned(theirs)
        error = relative_error(ours[~small], theirs[~small])
        yield Measure(self.name, quantity, error, tolerance)

        angle = resolved_angle(ours[small], theirs[small])
        note = f"{int(small.sum())} of {small.numel()} rotations, in rad"
        yield Measure(self.name, f"{quantity}, by angle", angle, ANGLE_TOLERANCE, note)

    def equal(self, quantity: str, ours: Tensor, key: str | None = None) -> Measure:
        """Compare for equality; the error is the share of entries that differ."""
        return Measure(self.name, quantity, share_different(ours, self[key or quantity]), EXACT)


def relative_error(ours: Tensor, theirs: Tensor) -> float:
    """Return max|a - b| / max|b| of our array a and the published array b.

    0/0 is 0. The error is infinite if only b is 0, if the shapes differ, or if a value is not
    finite.
    """
    ours = ours.detach().double()
    theirs = theirs.detach().double()
    if ours.shape != theirs.shape or not (ours.isfinite().all() and theirs.isfinite().all()):
        return float("inf")
    if not theirs.numel():
        return 0.0
    difference = (ours - theirs).abs().max().item()
    scale = theirs.abs().max().item()
    if scale == 0:
        return float("inf") if difference else 0.0
    return difference / scale


def ill_conditioned(rotation: Tensor) -> Tensor:
    """Return where the published axis-angle formula is ill-conditioned: (...) of 6D (..., 6)."""
    return (_quaternion(rotation).abs() < SMALL_COMPONENT).any(-1)


def resolved_angle(ours: Tensor, theirs: Tensor) -> float:
    """Return the largest angle in radians between rotations (N, 6), less what cannot be resolved.

    The published formula takes the square root of four times each squared quaternion component. A
    small component counts as equal if these squares agree to the last bits; its square root then
    differs by up to 3.5e-4, and the rotation by up to 7e-4 rad, for no other reason than rounding.
    The angle is infinite if a value is not finite.
    """
    if not len(theirs):
        return 0.0
    if not (ours.isfinite().all() and theirs.isfinite().all()):
        return float("inf")
    a, b = _quaternion(ours), _quaternion(theirs)
    # A quaternion and its negative are the same rotation.
    a = torch.where((a * b).sum(-1, keepdim=True) < 0, -a, a)
    small = torch.maximum(a.abs(), b.abs()) < SMALL_COMPONENT
    equal = small & (4 * (a.square() - b.square()).abs() <= LAST_BITS)
    distance = torch.where(equal, 0, a - b).norm(dim=-1)
    return float(4 * torch.asin((distance / 2).clamp(max=1)).max())


def _quaternion(rotation: Tensor) -> Tensor:
    return roma.rotmat_to_unitquat(matrix_from_6d(rotation.detach().double()))


def share_different(ours: Tensor, theirs: Tensor) -> float:
    """Return the share of entries that differ; infinite if the shapes differ."""
    if ours.shape != theirs.shape:
        return float("inf")
    return (ours != theirs).double().mean().item() if theirs.numel() else 0.0


@dataclass(frozen=True)
class CodeComparison:
    """Comparison of code indices with the published ones."""

    measure: Measure
    resolved: Tensor
    """Our codes, with near ties resolved as published, so that what follows can be compared."""


def compare_codes(file: str, quantity: str, scores: Tensor, theirs: Tensor) -> CodeComparison:
    """Compare the codes of the highest score with the published codes.

    Near ties pass and are counted in the note.

    Args:
        file: Name of the fixture.
        quantity: Name of the quantity.
        scores: Score of each code (..., codes), for example the negative distance.
        theirs: Published codes (...).

    """
    ours = scores.argmax(-1)
    if ours.shape != theirs.shape or theirs.min() < 0 or theirs.max() >= scores.shape[-1]:
        note = "codes of another shape or range"
        return CodeComparison(Measure(file, quantity, float("inf"), EXACT, note), ours)

    best = scores.gather(-1, ours[..., None]).squeeze(-1)
    published = scores.gather(-1, theirs[..., None]).squeeze(-1)
    margin = (best - published) / best.abs()
    tie = (ours != theirs) & (margin < NEAR_TIE)
    resolved = torch.where(tie, theirs, ours)

    note = f"{int(tie.sum())} near ties" if tie.any() else ""
    error = share_different(resolved, theirs)
    return CodeComparison(Measure(file, quantity, error, EXACT, note), resolved)


def _tensor(array: np.ndarray) -> Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(array)).reshape(array.shape)
    return tensor.float() if tensor.dtype == torch.float16 else tensor
