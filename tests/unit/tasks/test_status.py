"""A stage writes which kind of failure it had, so that only what may pass by itself is retried."""

import errno
import json
import signal
from pathlib import Path

import pytest
import torch

from mambatalk.errors import InputError
from tasks.runtime.links import DamagedInputError
from tasks.runtime.paths import Paths
from tasks.runtime.stage import stage_lock
from tasks.runtime.status import DataContractError, Interrupted, failure_kind, write_status

FAULT = ("expected b, found a", "do c")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (InputError("params.yaml", *FAULT), "config"),
        (DataContractError("clips", *FAULT), "data-contract"),
        (DamagedInputError("data/clips", *FAULT), "damaged"),
        (Interrupted(), "interrupted"),
        (Interrupted(signal.SIGINT), "cancelled"),
        (KeyboardInterrupt(), "cancelled"),
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


def test_the_status_file_holds_state_and_kind(tmp_path: Path) -> None:
    folder = tmp_path / "train_vq@face"
    write_status(
        folder, "train_vq@face", "failed", fingerprint="abc", kind="nan", message="loss is nan"
    )
    status = json.loads((folder / "status.json").read_text())
    assert (status["state"], status["kind"], status["fingerprint"]) == ("failed", "nan", "abc")


def test_runs_may_be_kept_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAMBATALK_RUNS", str(tmp_path / "kept"))
    assert Paths("checkout").run_folder("ingest") == tmp_path / "kept" / "ingest"


def test_a_run_folder_that_cannot_be_written_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with (
        pytest.raises(InputError, match="runs/ingest: expected a writable folder"),
        stage_lock(tmp_path / "runs" / "ingest", "ingest"),
    ):
        pass
