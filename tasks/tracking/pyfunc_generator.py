"""The generator as an MLflow model: audio, words, masked motion in; code logits or motion out."""

from pathlib import Path
from typing import Final

import numpy as np
import torch

from mambatalk.models.generator.storage import load_generator
from mambatalk.motion.skeleton import MOTION_DIM
from tasks.tracking.pyfunc import Arrays, FolderModel, Predict

INPUTS: Final = ("audio", "words", "speaker_index", "motion", "mask")
_FRAMES: Final = 64
_SAMPLES: Final = 34_133
"""Samples of a window of 64 frames at 30 frames a second and 16 kHz."""


def example() -> Arrays:
    """Return a window of silence with all motion masked but the first four frames."""
    mask = np.ones((1, _FRAMES, MOTION_DIM), np.bool_)
    mask[:, :4] = False
    return {
        "audio": np.zeros((1, _SAMPLES, 3), np.float32),
        "words": np.zeros((1, _FRAMES), np.int64),
        "speaker_index": np.zeros((1, _FRAMES), np.int64),
        "motion": np.zeros((1, _FRAMES, MOTION_DIM), np.float32),
        "mask": mask,
    }


def load(folder: Path) -> Predict:
    """Read the generator.

    Returns:
        A function from arrays as `example` returns them to the logits of the codes of each part,
        "face", "upper", "hands" and "lower", each (B, T, codes) float32; to the motion channels of
        each part, if the generator predicts motion.

    """
    network = load_generator(folder)

    @torch.no_grad()
    def predict(arrays: Arrays) -> Arrays:
        audio, words, speaker_index, motion, mask = (
            torch.from_numpy(np.ascontiguousarray(arrays[name])) for name in INPUTS
        )
        output = network(audio, audio[..., :2], words, speaker_index, motion, mask)
        predicted = output.logits if network.predicts_codes else output.latent
        return {part: rows.numpy() for part, rows in predicted.items()}

    return predict


def _load_pyfunc(data_path: str) -> FolderModel:
    return FolderModel(load, data_path)
