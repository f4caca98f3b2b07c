"""A motion auto-encoder as an MLflow model: motion (B, T, D) in, its reconstruction out."""

from pathlib import Path

import numpy as np
import torch

from mambatalk.models.vq.storage import load_auto_encoder
from tasks.tracking.pyfunc import Arrays, FolderModel, Predict


def load(folder: Path) -> Predict:
    """Read the one auto-encoder in a folder.

    Returns:
        A function from "motion" to "reconstruction", both (B, T, D) float32 at 30 frames a second.

    """
    network = load_auto_encoder(folder, next(folder.glob("*.safetensors")).stem)

    @torch.no_grad()
    def predict(arrays: Arrays) -> Arrays:
        output = network(torch.from_numpy(np.ascontiguousarray(arrays["motion"], np.float32)))
        return {"reconstruction": getattr(output, "reconstruction", output).numpy()}

    return predict


def _load_pyfunc(data_path: str) -> FolderModel:
    return FolderModel(load, data_path)
