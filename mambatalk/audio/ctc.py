"""CTC token ids by a wav2vec2 model: what is spoken, about 50 times per second."""

from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from mambatalk.errors import InputError
from mambatalk.motion.skeleton import SAMPLE_RATE

MAX_TOKENS: Final = 256
"""Ids are stored in a byte."""

CTCModel = Callable[[NDArray[np.float32]], NDArray[np.uint8]]
"""A function from a waveform (S,) at 16 kHz to greedy token ids (K,), K about S / 320."""


def load_ctc(name: str) -> CTCModel:
    """Load a wav2vec2 CTC model.

    Args:
        name: Local folder or hub name of the model (published: facebook/wav2vec2-base-960h).

    Raises:
        InputError: `transformers` is not installed, or the model cannot be found, has no CTC head
            or has too many tokens.

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
        reason = str(error).splitlines()[0]
        raise InputError(
            "features.ctc_model",
            f"expected a wav2vec2 CTC model in safetensors, found {name} ({reason})",
            "check the name or the folder",
        ) from None
    model, loading = loaded
    _check(name, model.config.vocab_size, loading["missing_keys"])
    model.eval()

    @torch.inference_mode()
    def recognise(waveform: NDArray[np.float32]) -> NDArray[np.uint8]:
        values = extractor(waveform, sampling_rate=SAMPLE_RATE, return_tensors="pt").input_values
        return model(values).logits[0].argmax(dim=-1).to(torch.uint8).numpy()

    return recognise


def _check(name: str, tokens: int, missing_keys: Iterable[str]) -> None:
    # transformers draws weights that a file lacks at random and raises no error. The mask
    # embedding is used in training only.
    random_weights = sorted(key for key in missing_keys if not key.endswith("masked_spec_embed"))
    if random_weights:
        raise InputError(
            "features.ctc_model",
            f"expected a wav2vec2 with a CTC head, found {name} without {random_weights[0]}",
            "choose a fine-tuned model, such as facebook/wav2vec2-base-960h",
        )
    if tokens > MAX_TOKENS:
        raise InputError(
            "features.ctc_model",
            f"expected at most {MAX_TOKENS} tokens, found {name} with {tokens}",
            "choose a model with tokens for letters, not for words or syllables",
        )
