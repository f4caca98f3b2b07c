"""Reference numbers of the published implementation: one npz of arrays, and how far ours are from
them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mambatalk.errors import InputError
from mambatalk.published.keymap import Kind, Translation, translate

MODULE_BAR = 1e-5
ROLLOUT_BAR = 1e-4
EXACT = 0.0
NEAR_TIE = 1e-6
"""Two best codes whose scores differ by less than this share of themselves may come out either
way.
"""


@dataclass(frozen=True)
class Measure:
    """One quantity of one file, ours against the published."""

    file: str
    quantity: str
    error: float
    bar: float
    note: str = ""

    @property
    def ok(self) -> bool:
        """Whether the error is within its bar; a NaN is not."""
        return self.error <= self.bar


class Fixture:
    """The arrays of one file, as tensors; half precision is read as single."""

    def __init__(self, path: Path) -> None:
        self.name, self._path = path.stem, path
        try:
            with np.load(path, allow_pickle=False) as arrays:
                self._arrays = {key: _tensor(arrays[key]) for key in arrays.files}
        except (
            Exception
        ) as error:  # Zip, zlib, numpy and the tokenizer of its headers have errors of their own.
            raise InputError(
                path,
                f"expected an npz of reference arrays, found an unreadable file ({error})",
                "fetch or make the file again",
            ) from error

    def __getitem__(self, key: str) -> Tensor:
        if key not in self._arrays:
            raise InputError(
                self._path,
                f"expected the arrays of {self.name}, found no array {key!r}",
                "make the file again with the published implementation",
            )
        return self._arrays[key]

    def beside(self, name: str) -> "Fixture":
        """Another file of the same folder."""
        return Fixture(self._path.with_name(f"{name}.npz"))

    def group(self, prefix: str) -> Mapping[str, Tensor]:
        """Arrays whose names start with `prefix/`, without it."""
        start = f"{prefix}/"
        return {
            key.removeprefix(start): value
            for key, value in self._arrays.items()
            if key.startswith(start)
        }

    def state(self, kind: Kind, prefix: str = "state") -> Translation:
        """A published state dict in our names."""
        return translate(self.group(prefix), kind, where=str(self._path))

    def close(
        self, quantity: str, ours: Tensor, key: str | None = None, *, bar: float = MODULE_BAR
    ) -> Measure:
        """Compare with the array `key` (default: named like the quantity) by relative error."""
        return Measure(self.name, quantity, relative_error(ours, self[key or quantity]), bar)

    def equal(self, quantity: str, ours: Tensor, key: str | None = None) -> Measure:
        """Compare with an array exactly; the error is the share of entries that differ."""
        return Measure(self.name, quantity, share_different(ours, self[key or quantity]), EXACT)


def relative_error(ours: Tensor, theirs: Tensor) -> float:
    """max|a - b| / max|b|; 0/0 is 0, anything else over 0 infinite; so is a different shape or a
    value not finite.
    """
    ours, theirs = ours.detach().double(), theirs.detach().double()
    if ours.shape != theirs.shape or not (ours.isfinite().all() and theirs.isfinite().all()):
        return float("inf")
    if not theirs.numel():
        return 0.0
    difference, scale = (ours - theirs).abs().max().item(), theirs.abs().max().item()
    return difference / scale if scale else float("inf") if difference else 0.0


def share_different(ours: Tensor, theirs: Tensor) -> float:
    """Share of entries that differ; infinite for a different shape."""
    if ours.shape != theirs.shape:
        return float("inf")
    return (ours != theirs).double().mean().item() if theirs.numel() else 0.0


@dataclass(frozen=True)
class Codes:
    """Our codes beside the published: near ties pass and are settled as published, so that they
    harm nothing after.
    """

    measure: Measure
    settled: Tensor


def compare_codes(file: str, quantity: str, scores: Tensor, theirs: Tensor) -> Codes:
    """Compare the codes of greatest score (..., codes) with the published (...); distances go in
    negated.
    """
    ours = scores.argmax(-1)
    if ours.shape != theirs.shape or theirs.min() < 0 or theirs.max() >= scores.shape[-1]:
        return Codes(
            Measure(file, quantity, float("inf"), EXACT, "codes of another shape or range"), ours
        )
    best = scores.gather(-1, ours[..., None]).squeeze(-1)
    margin = (best - scores.gather(-1, theirs[..., None]).squeeze(-1)) / best.abs()
    tie = (ours != theirs) & (margin < NEAR_TIE)
    settled = torch.where(tie, theirs, ours)
    note = f"{int(tie.sum())} near ties" if tie.any() else ""
    return Codes(Measure(file, quantity, share_different(settled, theirs), EXACT, note), settled)


def _tensor(array: np.ndarray) -> Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(array)).reshape(array.shape)
    return tensor.float() if tensor.dtype == torch.float16 else tensor
