"""The bundle as an MLflow model: speech in, SMPL-X motion out."""

from pathlib import Path

import numpy as np

from mambatalk.motion.skeleton import SAMPLE_RATE
from mambatalk.synthesis.bundle import Bundle
from mambatalk.synthesis.layout import Speech
from mambatalk.synthesis.synthesizer import Synthesizer
from tasks.tracking.pyfunc import Arrays, FolderModel, Predict


def example(bundle: Bundle) -> Arrays:
    """Return one second of silence by the first speaker."""
    return {
        "waveform": np.zeros(SAMPLE_RATE, np.float32),
        "speaker_id": np.array([min(bundle.speakers)], np.int64),
    }


def load(folder: Path) -> Predict:
    """Read the bundle.

    Returns:
        A function from "waveform" (S,) float32 at 16 kHz and "speaker_id" (1,), an id of the
        corpus, to "poses" (n, 165), "expressions" (n, 100) and "trans" (n, 3) at 30 frames a
        second.

    """
    synthesizer = Synthesizer(Bundle.load(folder))

    def predict(arrays: Arrays) -> Arrays:
        speech = Speech(
            waveform=np.ascontiguousarray(arrays["waveform"], np.float32),
            speaker_id=int(arrays["speaker_id"][0]),
        )
        result = synthesizer.generate(speech)
        return {"poses": result.poses, "expressions": result.expressions, "trans": result.trans}

    return predict


def _load_pyfunc(data_path: str) -> FolderModel:
    return FolderModel(load, data_path)
