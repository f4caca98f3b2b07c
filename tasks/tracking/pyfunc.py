"""What all MLflow models of the pipeline share: find the folder of weights, then answer named
arrays with named arrays.

These modules travel with a model (`code_paths`); MLflow calls `_load_pyfunc` of
`tasks._pyfunc_KIND` where the model is loaded.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mambatalk.errors import InputError
from mambatalk.files import read_json, sha256_file

Arrays = dict[str, np.ndarray]
Predict = Callable[[Arrays], Arrays]


class FolderModel:
    """What MLflow's loader gets: a `predict` over named arrays, of a folder of weights or a
    reference to one.
    """

    def __init__(self, load: Callable[[Path], Predict], data_path: str) -> None:
        self._predict = load(resolve(Path(data_path)))

    def predict(self, model_input: Arrays, params: dict[str, Any] | None = None) -> Arrays:
        """Named arrays in and out, as the signature says."""
        return self._predict(model_input)


def resolve(folder: Path) -> Path:
    """Return the folder of weights that a model's artefact is or refers to.

    Raises:
        InputError: What is referred to is gone or another one by now.

    """
    if not (folder / "reference.json").exists():
        return folder
    reference = read_json(folder / "reference.json")
    found = Path(reference["folder"])
    for name, sha256 in reference["files"].items():
        if not (found / name).exists() or sha256_file(found / name) != sha256:
            raise InputError(
                found / name,
                f"expected sha256 {sha256[:12]},"
                " found no file of the digest that this model refers to",
                "check out the commit of this run and `dvc checkout`",
            )
    return found
