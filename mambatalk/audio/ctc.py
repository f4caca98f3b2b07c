"""CTC token ids by a wav2vec2 model: what is being said, about 50 times a second."""

from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from mambatalk.errors import InputError
from mambatalk.motion.skeleton import SAMPLE_RATE

MOST_TOKENS: Final = 256
"""Ids are stored in a byte."""
CTCModel = Callable[[NDArray[np.float32]], NDArray[np.uint8]]


def load_ctc(name: str) -> CTCModel:
    """A function from a wave (S,) at 16 kHz to greedy token ids (K,), K about S / 320.

    Args:
        name: A local folder, or the hub name of a wav2vec2 CTC model (published:
            facebook/wav2vec2-base-960h).

    Raises:
        InputError: `transformers` is not installed, the model cannot be found, has no CTC head, or
            too many tokens.

    """
    try:
        from transformers import AutoFeatureExtractor, Wav2Vec2ForCTC
    except ImportError:
        raise InputError(
            "features.ctc_model",
            "expected the extra `ctc`, found no transformers package",
            "pip install 'mambatalk[ctc]', or set features.ctc_model to null",
        ) from None
    try:
        extractor = AutoFeatureExtractor.from_pretrained(name)
        loaded: Any = Wav2Vec2ForCTC.from_pretrained(
            name, use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError) as error:
        raise InputError(
            "features.ctc_model",
            "expected a wav2vec2 CTC model in safetensors,"
            f" found {name} ({str(error).splitlines()[0]})",
            "check the name or the folder",
        ) from None
    model, report = loaded
    _check(name, model.config.vocab_size, report["missing_keys"])
    model.eval()

    @torch.inference_mode()
    def recognise(wave: NDArray[np.float32]) -> NDArray[np.uint8]:
        values = extractor(wave, sampling_rate=SAMPLE_RATE, return_tensors="pt").input_values
        return model(values).logits[0].argmax(dim=-1).to(torch.uint8).numpy()

    return recognise


def _check(name: str, vocabulary: int, missing: Iterable[str]) -> None:
    # Weights that a file lacks are drawn at random without an error; masks serve training alone.
    drawn = sorted(key for key in missing if not key.endswith("masked_spec_embed"))
    if drawn:
        raise InputError(
            "features.ctc_model",
            f"expected a wav2vec2 with a CTC head, found {name} without {drawn[0]}",
            "name a fine-tuned model, such as facebook/wav2vec2-base-960h",
        )
    if vocabulary > MOST_TOKENS:
        raise InputError(
            "features.ctc_model",
            f"expected at most {MOST_TOKENS}, found {name} with {vocabulary} tokens",
            "name a model that spells, not one of words or syllables",
        )
