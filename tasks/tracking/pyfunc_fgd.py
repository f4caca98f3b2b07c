"""The FGD encoder as an MLflow model: 6D poses (B, T, 330) in, features (B, T // 16, D) out."""

from pathlib import Path

import numpy as np
import torch

from mambatalk.models.fgd.storage import load_fgd_encoder
from tasks.tracking.pyfunc import Arrays, FolderModel, Predict


def load(folder: Path) -> Predict:
    """Read the encoder.

    Returns:
        A function from "motion" (B, T, 330) to "features" (B, T // 16, D), both float32.

    """
    network = load_fgd_encoder(folder)

    @torch.no_grad()
    def predict(arrays: Arrays) -> Arrays:
        motion = torch.from_numpy(np.ascontiguousarray(arrays["motion"], np.float32))
        return {"features": network(motion).numpy()}

    return predict


def _load_pyfunc(data_path: str) -> FolderModel:
    return FolderModel(load, data_path)
