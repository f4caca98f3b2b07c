"""The published files on disk: checkpoints as tensors alone, and the one pickle that has to be read, restricted."""

import pickle
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from mambatalk.errors import UserError


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """State dict of a published checkpoint, on the CPU in single precision; `model_state` is looked into.

    Raises:
        UserError: No such file, not a checkpoint, or one that needs more than tensors to be read.

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
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(path, found="no state dict", expected=expected, do="check that this is the file the name says")
    return {key: value.float() if value.is_floating_point() else value for key, value in state.items()}


def read_vocabulary(path: Path) -> dict[str, int]:
    """Word to id of the published vocabulary: a pickled `Vocab`, whose class comes from wherever it was pickled.

    Raises:
        UserError: Not such a pickle, or one that names anything but `Vocab` and numpy arrays.

    """
    try:
        with path.open("rb") as file:
            stored = _VocabularyUnpickler(file).load()
        words = {str(word): int(index) for word, index in stored.word2index.items()}
    except (pickle.UnpicklingError, AttributeError, EOFError, ValueError, TypeError, IndexError, KeyError) as error:
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
        if (module, name) in (("numpy", "ndarray"), ("numpy", "dtype")):
            return getattr(np, name)
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name in ("_reconstruct", "scalar"):
            return getattr(import_module("numpy._core.multiarray"), name)
        if (module, name) == ("_codecs", "encode"):
            return _latin1
        raise pickle.UnpicklingError(f"it names {module}.{name}")


def _latin1(text: str, encoding: str) -> bytes:
    """How old pickle protocols spell the bytes of an array."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it encodes text as {encoding}")
    return text.encode("latin1")
