"""Networks and bundles as MLflow models: code by path, weights as safetensors, no pickle, signature
and example.

Weights past `COPY_LIMIT` are not copied: the model keeps a reference to DVC's copy, with digests,
until a version is registered (a full-size bundle is 800 MB, and every run would keep one).
"""

from collections.abc import Callable
from importlib.metadata import requires, version
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import TYPE_CHECKING, Final

import numpy as np
from packaging.requirements import Requirement

from mambatalk.files import sha256_file, write_json

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

Arrays = dict[str, np.ndarray]
COPY_LIMIT: Final = 64 * 2**20


def packed_model(
    name: str, module: ModuleType, folder: Path, *, example: Arrays
) -> Callable[[], None]:
    """Return what logs `folder` as a model of the run that is active when it is called.

    Args:
        name: Of the model within its run.
        module: `tasks._pyfunc_KIND`: its `load(folder)` gives the function that `predict` calls.
        folder: Output of the stage.
        example: Named arrays, batch first, as `predict` takes them; the signature comes from
            running the model on them.

    """

    def log() -> None:
        import mlflow

        answer = module.load(folder)(example)
        with TemporaryDirectory() as temporary:
            mlflow.pyfunc.log_model(
                name=name,
                loader_module=module.__name__,
                code_paths=["mambatalk", "tasks"],
                data_path=str(_copy_or_reference(folder, Path(temporary))),
                signature=_signature(example, answer),
                input_example=example,
                pip_requirements=_requirements(),
            )

    return log


def _signature(example: Arrays, answer: Arrays) -> "ModelSignature":
    """Free batch and time; only the channels, last of floats and masks, are of fixed number."""
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    def spec(name: str, array: np.ndarray) -> TensorSpec:
        last = array.shape[-1] if array.ndim > 1 and array.dtype.kind in "fb" else -1
        return TensorSpec(array.dtype, (*(-1,) * (array.ndim - 1), last), name)

    def schema(arrays: Arrays) -> Schema:
        return Schema([spec(name, array) for name, array in arrays.items()])

    return ModelSignature(schema(example), schema(answer))


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


def _requirements() -> list[str]:
    """What `mambatalk` needs to run, at the versions that made the model; without local tags such
    as +cpu.
    """
    needed = (Requirement(line) for line in requires("mambatalk") or ())
    return [
        "mlflow==" + version("mlflow"),
        *(f"{one.name}=={version(one.name).split('+')[0]}" for one in needed if not one.marker),
    ]


def example_motion(channels: int) -> np.ndarray:
    """Two windows of still motion (2, 64, channels)."""
    return np.zeros((2, 64, channels), np.float32)


def headline(metrics: dict[str, float]) -> dict[str, float]:
    """The few numbers of a training that DVC shows in a column each; every term is in the curve and
    in MLflow.
    """
    return {key: metrics[key] for key in ("loss", "codes_used", "perplexity") if key in metrics}
