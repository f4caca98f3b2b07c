"""Readers of the published files.

Checkpoints are read as tensors only. The vocabulary is a pickle, read by a restricted unpickler.
"""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from mambatalk.errors import InputError

DOWNLOAD_AGAIN: Final = "download the file again from its publisher"


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Read the state dict of a published checkpoint to the CPU, in single precision.

    The state dict may be the whole file or its entry `model_state`.

    Raises:
        InputError: The file is missing, is not a checkpoint, holds more than tensors, or has values
            that are not finite.

    """
    expected = "a checkpoint of tensors, as published"
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except FileNotFoundError:
        raise InputError(
            path, f"expected {expected}, found no such file", "check the folder and the name"
        ) from None
    except Exception as error:  # A damaged pickle can raise any error.
        raise InputError(
            path,
            f"expected {expected},"
            f" found a file that cannot be read as tensors only ({_first_line(error)})",
            DOWNLOAD_AGAIN,
        ) from error
    state = stored.get("model_state", stored) if isinstance(stored, Mapping) else None
    if not isinstance(state, Mapping) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()
    ):
        raise InputError(
            path,
            f"expected {expected}, found no state dict",
            "check that name and content of the file belong together",
        )
    weights = {key: _finite(value, f"{path}: {key}") for key, value in state.items()}
    return _without_shared_memory(weights)


def _finite(value: Tensor, where: str) -> Tensor:
    """Return a tensor in single precision, after checking that it is plain and finite."""
    if not _is_dense(value):
        raise InputError(
            where,
            "expected a dense array, found a sparse, nested or expanded tensor",
            DOWNLOAD_AGAIN,
        )
    value = value.float() if value.is_floating_point() else value
    if value.is_floating_point() and not value.isfinite().all():
        raise InputError(
            where,
            "expected trained weights, found values that are not finite",
            DOWNLOAD_AGAIN,
        )
    return value


def _is_dense(value: Tensor) -> bool:
    """Return whether a tensor has memory for each of its numbers.

    A tensor of a few numbers, expanded to a huge shape, would fill the memory when copied.
    """
    return (
        value.layout is torch.strided
        and not value.is_nested
        and value.device.type == "cpu"
        and value.nbytes <= value.untyped_storage().nbytes()
    )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _without_shared_memory(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copy arrays that share memory, as tied layers do: safetensors does not write those."""
    seen: set[int] = set()
    separate: dict[str, Tensor] = {}
    for key, value in state.items():
        address = value.untyped_storage().data_ptr()
        separate[key] = value.clone() if address in seen else value
        seen.add(address)
    return separate


def read_vocabulary(path: Path) -> dict[str, int]:
    """Read the published vocabulary, a pickled `Vocab`, as word to id.

    Raises:
        InputError: The file is not such a pickle, names any other class than `Vocab` and those of
            numpy, or repeats an id.

    """
    try:
        with path.open("rb") as file:
            stored = _VocabularyUnpickler(file).load()
        words = {str(word): int(index) for word, index in stored.word2index.items()}
    except Exception as error:  # A damaged pickle can raise any error.
        raise InputError(
            path,
            f"expected a pickled Vocab, found another file ({_first_line(error)})",
            DOWNLOAD_AGAIN,
        ) from error
    if len(set(words.values())) != len(words) or min(words.values(), default=0) < 0:
        raise InputError(
            path, "expected one id per word, found ids that repeat or are negative", DOWNLOAD_AGAIN
        )
    return words


class _Vocab:
    """Stands in for the pickled class: attributes only, no code."""

    word2index: dict[str, int]

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.word2index = state["word2index"]


class _Ignored:
    """Stands in for numpy's classes. The word vectors are not needed: the generator holds them.

    numpy itself would allocate arrays of any size that a damaged or hostile pickle states.
    """

    def __init__(self, *arguments: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...


class _VocabularyUnpickler(pickle.Unpickler):
    """Accepts `Vocab` of any module, ignores numpy's arrays, and rejects every other global."""

    def find_class(self, module: str, name: str) -> Any:
        """Return the class to use for a global of the pickle."""
        if name == "Vocab":
            return _Vocab
        # Old pickle protocols spell the bytes of an array as encoded text.
        if module.partition(".")[0] == "numpy" or (module, name) == ("_codecs", "encode"):
            return _Ignored
        raise pickle.UnpicklingError(f"found the global {module}.{name}")
