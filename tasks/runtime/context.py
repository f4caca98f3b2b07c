"""What every stage gets: `run(context)` is the whole interface of a stage."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mambatalk.config import Config
from tasks.runtime.paths import Paths
from tasks.tracking.recorder import Recorder

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class StageContext:
    """One run of one stage. A stage reads its settings and paths here and changes no directory."""

    stage: str
    """Name in `dvc.yaml`, "train_vq@face" for a stage of a matrix."""
    config: Config
    """Restricted to the parameters that `dvc.yaml` declares for the stage; reading others fails."""
    recorder: Recorder
    """The stage's MLflow run."""
    fingerprint: str
    """Digest of the command, the declared parameters, and the code and data the stage reads."""
    paths: Paths

    @property
    def run_folder(self) -> Path:
        """Folder for what people read after a failure: `runs/STAGE`."""
        return self.paths.run_folder(self.stage)

    @property
    def scratch(self) -> Path:
        """Folder for checkpoints: `runs/STAGE/FINGERPRINT`.

        The same inputs lead to the same folder, so that a stage that was killed continues from its
        checkpoint. The folder is deleted when the stage has succeeded.
        """
        return self.run_folder / self.fingerprint

    @property
    def device(self) -> "torch.device":
        """The device to compute on: `MAMBATALK_DEVICE`, else CUDA if available, else the CPU."""
        # Here, because stages that use no network need not wait for the import of torch.
        from mambatalk.runtime import device

        return device()


Run = Callable[[StageContext], None]


def is_assistant() -> bool:
    """Return whether torchrun has started this process beside the first one of a training.

    The first process records the stage and writes its outputs.
    """
    return os.environ.get("RANK", "0") != "0"
