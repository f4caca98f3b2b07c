"""Log networks and bundles as MLflow models: code by path, weights as safetensors, no pickle.

Weights above `COPY_LIMIT` are not copied. The model then refers to DVC's copy, with digests, until
a version is registered: a full-size bundle is 800 MB, and every run would keep one.
"""

from importlib.metadata import requires, version
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import TYPE_CHECKING, Final

import numpy as np
from packaging.requirements import Requirement

from mambatalk.files import sha256_file, write_json
from tasks.tracking.recorder import LogModel

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

Arrays = dict[str, np.ndarray]
COPY_LIMIT: Final = 64 * 2**20
"""Bytes."""
CODE_FOLDERS: Final = [str(Path(__file__).parents[2] / name) for name in ("mambatalk", "tasks")]
"""The code that loads a model; MLflow stores a copy with it."""


def packed_model(name: str, module: ModuleType, folder: Path, *, example: Arrays) -> LogModel:
    """Return a function that logs a folder of weights as a model of the active MLflow run.

    Args:
        name: Name of the model within its run.
        module: One of `tasks.tracking.pyfunc_*`; its `load(folder)` returns the function that
            `predict` calls.
        folder: Output folder of the stage.
        example: Named input arrays of `predict`, batch first. The signature is inferred by running
            the model on them.

    """

    def log(step: int) -> str:
        import mlflow

        outputs = module.load(folder)(example)
        with TemporaryDirectory() as temporary:
            model = mlflow.pyfunc.log_model(
                name=name,
                step=step,
                loader_module=module.__name__,
                code_paths=CODE_FOLDERS,
                data_path=str(_copy_or_reference(folder, Path(temporary))),
                signature=signature_of(example, outputs),
                input_example=example,
                pip_requirements=model_requirements(),
            )
        return str(model.model_id)

    return log


def signature_of(inputs: Arrays, outputs: Arrays) -> "ModelSignature":
    """Return a signature with only the last axis of floats and masks fixed, the channels."""
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    def spec(name: str, array: np.ndarray) -> TensorSpec:
        last = array.shape[-1] if array.ndim > 1 and array.dtype.kind in "fb" else -1
        return TensorSpec(array.dtype, (*(-1,) * (array.ndim - 1), last), name)

    def schema(arrays: Arrays) -> Schema:
        return Schema([spec(name, array) for name, array in arrays.items()])

    return ModelSignature(schema(inputs), schema(outputs))


def _copy_or_reference(folder: Path, temporary: Path) -> Path:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if sum(path.stat().st_size for path in files) <= COPY_LIMIT:
        return folder
    write_json(
        temporary / "reference" / "reference.json",
        {
            "folder": str(folder.resolve()),
            "files": {str(path.relative_to(folder)): sha256_file(path) for path in files},
        },
    )
    return temporary / "reference"


def model_requirements() -> list[str]:
    """Return the base dependencies of `mambatalk` and MLflow at their installed versions."""
    requirements = [Requirement(line) for line in requires("mambatalk") or ()]
    # Those with a marker belong to an extra.
    names = ["mlflow", *(one.name for one in requirements if not one.marker)]
    # Without local version labels such as +cpu, which package indexes do not have.
    return [f"{name}=={version(name).split('+')[0]}" for name in names]


def example_motion(channels: int) -> np.ndarray:
    """Return two windows of zeros (2, 64, channels), 64 frames each."""
    return np.zeros((2, 64, channels), np.float32)
