"""The name of a GPU's lock."""

from pathlib import Path

import pytest
import torch

from flows.gpu import places
from flows.workspace import Workspace

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


def test_a_gpu_has_one_lock_whatever_it_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One worker may name it by its index and another by its UUID."""
    monkeypatch.setenv("MAMBATALK_HOME", str(tmp_path))
    place = places(Workspace(tmp_path))[0]
    name = place.variables["CUDA_VISIBLE_DEVICES"]
    assert name.startswith("GPU-")
    for other in ("0", name):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", other)
        assert places(Workspace(tmp_path)) == [place]
