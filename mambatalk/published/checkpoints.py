"""The published files on disk: checkpoints as tensors alone, and the one pickle that has to be
read, restricted.
"""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from mambatalk.errors import InputError


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """State dict of a published checkpoint, on the CPU in single precision; `model_state` is looked
    into.

    Raises:
        InputError: No such file, not a checkpoint, one that needs more than tensors to be read, or
            values not finite.

    """
    expected = "a checkpoint of tensors, as published"
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except FileNotFoundError:
        raise InputError(
            path, f"expected {expected}, found no such file", "check the folder and the name"
        ) from None
    except Exception as error:  # A damaged pickle can end in any error there is.
        raise InputError(
            path,
            f"expected {expected},"
            f" found what cannot be read as tensors alone ({_first_line(error)})",
            "fetch the file again from its publisher",
        ) from error
    state = stored.get("model_state", stored) if isinstance(stored, Mapping) else None
    if not isinstance(state, Mapping) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()
    ):
        raise InputError(
            path,
            f"expected {expected}, found no state dict",
            "check that this is the file the name says",
        )
    return _apart({key: _finite(value, f"{path}: {key}") for key, value in state.items()})


def _finite(value: Tensor, where: str) -> Tensor:
    if not _is_whole(value):
        raise InputError(
            where,
            "expected a plain array, found a tensor without a number of its own in every place",
            "fetch the file again from its publisher",
        )
    value = value.float() if value.is_floating_point() else value
    if value.is_floating_point() and not value.isfinite().all():
        raise InputError(
            where,
            "expected trained weights, found values that are not finite",
            "fetch the file again from its publisher",
        )
    return value


def _is_whole(value: Tensor) -> bool:
    """Neither sparse, nested nor without data, nor a few numbers stretched to a shape that fills
    the memory.
    """
    return (
        value.layout is torch.strided
        and not value.is_nested
        and value.device.type == "cpu"
        and value.nbytes <= value.untyped_storage().nbytes()
    )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _apart(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give arrays that share memory, as tied layers do, memory of their own: a bundle's files hold
    each by itself.
    """
    seen: set[int] = set()
    for key, value in state.items():
        place = value.untyped_storage().data_ptr()
        state[key] = value.clone() if place in seen else value
        seen.add(place)
    return state


def read_vocabulary(path: Path) -> dict[str, int]:
    """Word to id of the published vocabulary: a pickled `Vocab`, whose class comes from wherever it
    was pickled.

    Raises:
        InputError: Not such a pickle, or one that names anything but `Vocab` and numpy's arrays.

    """
    try:
        with path.open("rb") as file:
            stored = _VocabularyUnpickler(file).load()
        words = {str(word): int(index) for word, index in stored.word2index.items()}
    except Exception as error:  # A damaged pickle can end in any error there is.
        raise InputError(
            path,
            "expected a pickled Vocab and numpy arrays,"
            f" found no published vocabulary ({_first_line(error)})",
            "fetch the file again from its publisher",
        ) from error
    if len(set(words.values())) != len(words) or min(words.values(), default=0) < 0:
        raise InputError(
            path,
            "expected one id a word, found ids that repeat or are negative",
            "fetch the file again from its publisher",
        )
    return words


class _Vocab:
    """Takes the place of the pickled class: attributes and nothing that runs."""

    word2index: dict[str, int]

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.word2index = state["word2index"]


class _Unread:
    """Takes the place of whatever of numpy the pickle names: the generator holds the word vectors
    already.

    Numpy itself would make arrays as large as a damaged or hostile pickle says, and of types that
    it may garble.
    """

    def __init__(self, *arguments: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...


class _VocabularyUnpickler(pickle.Unpickler):
    """Admits `Vocab`, under any module name, and passes over numpy's arrays; refuses every other
    global.
    """

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)

    def find_class(self, module: str, name: str) -> Any:
        """Resolve one global."""
        if name == "Vocab":
            return _Vocab
        # Old pickle protocols spell the bytes of an array as encoded text.
        if module.partition(".")[0] == "numpy" or (module, name) == ("_codecs", "encode"):
            return _Unread
        raise pickle.UnpicklingError(f"it names {module}.{name}")
