"""The registered model: speech in, SMPL-X motion out. MLflow loads it with this module.

`tasks.registry` stores the library beside the model, so that it loads where only the dependencies
of `mambatalk` and MLflow are installed:

    model = mlflow.pyfunc.load_model("models:/mambatalk@champion")
    motion = model.predict({"waveform": waveform, "speaker_id": numpy.array([2])})
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from mambatalk.motion.skeleton import SAMPLE_RATE
from mambatalk.serving.signature import SIGNATURE_FILE, verify_if_configured
from mambatalk.synthesis.bundle import Bundle
from mambatalk.synthesis.layout import Speech
from mambatalk.synthesis.synthesizer import Synthesizer

Arrays = dict[str, np.ndarray]
BUNDLE_FOLDER: Final = "bundle"
"""Name of the bundle in the folder of a registered model, beside its signature and model card."""


def example(bundle: Bundle) -> Arrays:
    """Return one second of silence by the first speaker."""
    return {
        "waveform": np.zeros(SAMPLE_RATE, np.float32),
        "speaker_id": np.array([min(bundle.speakers)], np.int64),
    }


def predictor(bundle: Bundle) -> Callable[[Arrays], Arrays]:
    """Return synthesis as a function of named arrays.

    A bundle of published fidelity starts from the rest pose and generates all frames, too.

    Returns:
        A function from "waveform" (S,) float32 at 16 kHz and "speaker_id" (1,), an id of the
        corpus, to "poses" (n, 165), "expressions" (n, 100) and "trans" (n, 3) at 30 frames a
        second.

    """
    # A request has no recorded motion to start from, which published synthesis requires, and may be
    # shorter than a window.
    rules = replace(bundle.rules, start_from_rest_pose=True, cover_all_frames=True)
    synthesizer = Synthesizer(bundle, rules=rules)

    def predict(arrays: Arrays) -> Arrays:
        speech = Speech(
            waveform=np.ascontiguousarray(arrays["waveform"], np.float32),
            speaker_id=int(arrays["speaker_id"][0]),
        )
        result = synthesizer.generate(speech)
        return {"poses": result.poses, "expressions": result.expressions, "trans": result.trans}

    return predict


def load_registered(folder: Path) -> Bundle:
    """Read the bundle of a registered model, and verify its signature if a key is configured.

    Args:
        folder: Folder that holds the folder `bundle`.

    Raises:
        InputError: A file is missing or changed, or the signature is not valid.

    """
    bundle = folder / BUNDLE_FOLDER
    verify_if_configured(bundle, folder / SIGNATURE_FILE)
    return Bundle.load(bundle)


class RegisteredModel:
    """The object that MLflow calls.

    Args:
        folder: Folder that MLflow stored with the model.

    """

    def __init__(self, folder: Path) -> None:
        self._predict = predictor(load_registered(folder))

    def predict(self, model_input: Arrays, params: dict[str, Any] | None = None) -> Arrays:
        """Return the motion of one clip, see `predictor`."""
        return self._predict(model_input)


def _load_pyfunc(data_path: str) -> RegisteredModel:
    return RegisteredModel(Path(data_path))
