"""What the MLflow models of the pipeline share: named arrays in, named arrays out.

These modules are stored with a model (`code_paths`). MLflow calls `_load_pyfunc` of
`tasks.tracking.pyfunc_*` where the model is loaded.
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
    """A model over named arrays, from a folder of weights or a reference to one.

    Args:
        load: Reads a folder of weights and returns the function that `predict` calls.
        data_path: Folder that MLflow stored with the model.

    """

    def __init__(self, load: Callable[[Path], Predict], data_path: str) -> None:
        self._predict = load(resolve(Path(data_path)))

    def predict(self, model_input: Arrays, params: dict[str, Any] | None = None) -> Arrays:
        """Return the named arrays of the model's signature."""
        return self._predict(model_input)


def resolve(folder: Path) -> Path:
    """Return the folder of weights that a model's folder is or refers to.

    Raises:
        InputError: A file that is referred to is missing or has changed.

    """
    if not (folder / "reference.json").exists():
        return folder
    reference = read_json(folder / "reference.json")
    found = Path(reference["folder"])
    for name, sha256 in reference["files"].items():
        if not (found / name).exists() or sha256_file(found / name) != sha256:
            raise InputError(
                found / name,
                f"expected the file with sha256 {sha256[:12]} that this model refers to, "
                "found none or another",
                "check out the commit of this run and `dvc checkout`",
            )
    return found
