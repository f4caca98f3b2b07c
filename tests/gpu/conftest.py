"""Precision of the comparisons on a GPU."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture
def full_precision() -> Iterator[None]:
    """Compute products and convolutions in single precision instead of TF32."""
    # Not `monkeypatch`, which cannot delete these attributes again.
    flags = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [flag.allow_tf32 for flag in flags]
    for flag in flags:
        flag.allow_tf32 = False
    yield
    for flag, value in zip(flags, before, strict=True):
        flag.allow_tf32 = value
