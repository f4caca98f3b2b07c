"""CTC token ids by a wav2vec2 model: what is being said, about 50 times a second."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from mambatalk.errors import UserError
from mambatalk.motion.skeleton import SAMPLE_RATE

CTCModel = Callable[[NDArray[np.float32]], NDArray[np.uint8]]


def load_ctc(name: str) -> CTCModel:
    """A function from a wave (S,) at 16 kHz to greedy token ids (K,), K about S / 320.

    Args:
        name: A local folder, or the hub name of a wav2vec2 CTC model (published: facebook/wav2vec2-base-960h).

    Raises:
        UserError: `transformers` is not installed or the model cannot be found.

    """
    try:
        from transformers import AutoFeatureExtractor, Wav2Vec2ForCTC
    except ImportError:
        raise UserError("features.ctc_model", found="no transformers package", expected="the extra `ctc`",
                        do="pip install 'mambatalk[ctc]', or set features.ctc_model to null") from None
    try:
        extractor = AutoFeatureExtractor.from_pretrained(name)
        model = Wav2Vec2ForCTC.from_pretrained(name, use_safetensors=True).eval()
    except (OSError, ValueError) as error:
        raise UserError("features.ctc_model", found=f"{name} ({str(error).splitlines()[0]})",
                        expected="a wav2vec2 CTC model in safetensors", do="check the name or the folder") from None

    @torch.inference_mode()
    def recognise(wave: NDArray[np.float32]) -> NDArray[np.uint8]:
        values = extractor(wave, sampling_rate=SAMPLE_RATE, return_tensors="pt").input_values
        return model(values).logits[0].argmax(dim=-1).to(torch.uint8).numpy()

    return recognise
