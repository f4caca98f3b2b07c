"""The bundle as an MLflow model of its run: speech in, SMPL-X motion out.

The registered model is another one, complete in itself: see `tasks.registry`.
"""

from pathlib import Path

from mambatalk.serving.registered import example, predictor
from mambatalk.synthesis.bundle import Bundle
from tasks.tracking.pyfunc import FolderModel, Predict

__all__ = ["example", "load"]


def load(folder: Path) -> Predict:
    """Read the bundle; see `mambatalk.serving.registered.predictor` for the function."""
    return predictor(Bundle.load(folder))


def _load_pyfunc(data_path: str) -> FolderModel:
    return FolderModel(load, data_path)
