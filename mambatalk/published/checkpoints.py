"""The published files on disk: checkpoints as tensors alone, and the one pickle that has to be read, restricted."""

import pickle
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mambatalk.errors import UserError


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """State dict of a published checkpoint, on the CPU in single precision; `model_state` is looked into.

    Raises:
        UserError: No such file, not a checkpoint, one that needs more than tensors to be read, or values not finite.

    """
    expected = "a checkpoint of tensors, as published"
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except FileNotFoundError:
        raise UserError(path, found="no such file", expected=expected, do="check the folder and the name") from None
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        why = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(path, found=f"what cannot be read as tensors alone ({why})", expected=expected,
                        do="fetch the file again from its publisher") from error
    state = stored.get("model_state", stored) if isinstance(stored, Mapping) else None
    if not isinstance(state, Mapping) or not all(isinstance(key, str) and isinstance(value, Tensor)
                                                 for key, value in state.items()):
        raise UserError(path, found="no state dict", expected=expected, do="check that this is the file the name says")
    for key, value in state.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise UserError(f"{path}: {key}", found="values that are not finite", expected="trained weights",
                            do="fetch the file again from its publisher")
    return _apart({key: value.float() if value.is_floating_point() else value for key, value in state.items()})


def _apart(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give arrays that share memory, as tied layers do, memory of their own: a bundle's files hold each by itself."""
    seen: set[int] = set()
    for key, value in state.items():
        place = value.untyped_storage().data_ptr()
        state[key] = value.clone() if place in seen else value
        seen.add(place)
    return state


def read_vocabulary(path: Path) -> dict[str, int]:
    """Word to id of the published vocabulary: a pickled `Vocab`, whose class comes from wherever it was pickled.

    Raises:
        UserError: Not such a pickle, or one that names anything but `Vocab` and numpy arrays.

    """
    try:
        with path.open("rb") as file:
            stored = _VocabularyUnpickler(file).load()
        words = {str(word): int(index) for word, index in stored.word2index.items()}
    except (pickle.UnpicklingError, AttributeError, EOFError, ValueError, TypeError, IndexError, KeyError,
            OverflowError, MemoryError) as error:
        raise UserError(path, found=f"no published vocabulary ({error})", expected="a pickled Vocab and numpy arrays",
                        do="fetch the file again from its publisher") from error
    if len(set(words.values())) != len(words) or min(words.values(), default=0) < 0:
        raise UserError(path, found="ids that repeat or are negative", expected="one id a word",
                        do="fetch the file again from its publisher")
    return words


class _Vocab:
    """Takes the place of the pickled class: attributes and nothing that runs."""

    word2index: dict[str, int]

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.word2index = state["word2index"]


class _VocabularyUnpickler(pickle.Unpickler):
    """Admits numpy arrays and `Vocab`, under any module name; refuses every other global."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)

    def find_class(self, module: str, name: str) -> Any:
        """Resolve one global."""
        if name == "Vocab":
            return _Vocab
        # numpy 1 pickled its internals under numpy.core, numpy 2 under numpy._core.
        if (module, name) == ("numpy", "dtype"):
            return np.dtype
        if (module, name) == ("numpy", "ndarray"):
            return _ARRAY
        if module in _MULTIARRAY and name == "scalar":
            return getattr(import_module("numpy._core.multiarray"), name)
        if module in _MULTIARRAY and name == "_reconstruct":
            return _empty_array
        if (module, name) == ("_codecs", "encode"):
            return _latin1
        raise pickle.UnpicklingError(f"it names {module}.{name}")


_MULTIARRAY: Final = ("numpy.core.multiarray", "numpy._core.multiarray")
_ARRAY: Final = object()
"""In place of `ndarray`, which a pickle could call for terabytes."""


def _empty_array(kind: object, shape: object, code: object) -> NDArray[Any]:
    """How numpy's pickles begin an array, to be filled by what follows."""
    if kind is not _ARRAY or shape != (0,):
        raise pickle.UnpicklingError("it makes an array in another way than numpy")
    return np.empty(0, np.int8)


def _latin1(text: str, encoding: str) -> bytes:
    """How old pickle protocols spell the bytes of an array."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it encodes text as {encoding}")
    return text.encode("latin1")
