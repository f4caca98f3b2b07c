"""What may pass by itself is told from what will not, by the kind of failure that a stage writes
down.
"""

import errno
import json
from pathlib import Path

import pytest
import torch

from mambatalk.errors import InputError
from tasks.runtime.status import DataContractError, Interrupted, failure_kind, write_status

FAULT = ("expected b, found a", "do c")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (InputError("params.yaml", *FAULT), "config"),
        (DataContractError("clips", *FAULT), "data-contract"),
        (Interrupted(), "interrupted"),
        (KeyboardInterrupt(), "interrupted"),
        (MemoryError(), "oom"),
        (torch.OutOfMemoryError("CUDA out of memory"), "oom"),
        (FloatingPointError("loss is nan"), "nan"),
        (ConnectionRefusedError(), "transient"),
        (TimeoutError(), "transient"),
        (OSError(errno.EIO, "disk"), "transient"),
        (OSError(errno.ENOENT, "file"), "unexpected"),
        (ZeroDivisionError(), "unexpected"),
    ],
)
def test_kinds_of_failure(error: BaseException, kind: str) -> None:
    assert failure_kind(error) == kind


def test_the_cpu_allocator_s_error_counts_as_out_of_memory() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert failure_kind(caught.value) == "oom"


def test_the_status_lies_where_runs_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAMBATALK_RUNS", str(tmp_path / "kept"))
    write_status("train_vq@face", "failed", fingerprint="abc", kind="nan", message="loss is nan")
    status = json.loads((tmp_path / "kept" / "train_vq@face" / "status.json").read_text())
    assert (status["state"], status["kind"], status["fingerprint"]) == ("failed", "nan", "abc")
