"""The model and the device of commands that generate motion."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from mambatalk.errors import InputError
from mambatalk.files import read_json, sha256_file

if TYPE_CHECKING:
    import torch

DEFAULT_BUNDLE: Final = Path("bundle")

BundleOption = Annotated[
    Path | None, typer.Option(help="Folder of the trained model. [default: bundle]")
]
ModelOption = Annotated[
    str | None,
    typer.Option(help="A model in MLflow's registry, such as models:/mambatalk@champion."),
]
BodyOption = Annotated[
    Path | None,
    typer.Option(help="SMPL-X npz for meshes and skeletons. Without it the stand-in body is used."),
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, or cuda.")]


def chosen_device(name: str) -> "torch.device":
    """Return the device of an option `--device`.

    Raises:
        InputError: It is not auto, cpu or cuda, or there is no GPU.

    """
    import torch

    from mambatalk.runtime import device

    if name == "auto":
        return device()
    if name == "cpu" or (name == "cuda" and torch.cuda.is_available()):
        return torch.device(name)
    raise InputError(
        "device",
        f"expected auto, cpu, or cuda where PyTorch finds a GPU, found {name}",
        "use --device auto",
    )


@contextmanager
def bundle_folder(bundle: Path | None, model: str | None) -> Iterator[Path]:
    """Yield the folder of the bundle, downloaded from MLflow's registry if a model is named.

    Args:
        bundle: Folder of the option `--bundle`. If None, `bundle`.
        model: Address of the option `--model`, such as models:/mambatalk@champion.

    Raises:
        InputError: Both are given, or there is no bundle.

    """
    if bundle and model:
        raise InputError("model", "expected --bundle or --model, found both", "leave one out")
    if model is None:
        folder = bundle or DEFAULT_BUNDLE
        if not (folder / "bundle.json").is_file():
            raise InputError(
                folder,
                "expected the folder of a bundle, found no bundle.json in it",
                "`make repro` writes one; name it with --bundle",
            )
        yield folder
        return
    with tempfile.TemporaryDirectory() as name:
        _download(model, Path(name))
        yield _packed_bundle(model, Path(name))


def _download(model: str, folder: Path) -> None:
    """Download a registered model with the command of MLflow, which the library does not import."""
    command = shutil.which(
        "mlflow", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    )
    if command is None:
        raise InputError(
            model,
            "expected the command mlflow to download the model, found none",
            "pip install mlflow, or use --bundle",
        )
    done = subprocess.run(
        [command, "artifacts", "download", "--artifact-uri", model, "--dst-path", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise InputError(
            model,
            f"expected a model in MLflow's registry, found that it cannot be downloaded ({reason})",
            "check its name and MLFLOW_TRACKING_URI",
        )


def _packed_bundle(model: str, folder: Path) -> Path:
    """Return the bundle in a downloaded model, or the one that it refers to."""
    for path in sorted(folder.rglob("bundle.json")):
        return path.parent
    for path in sorted(folder.rglob("reference.json")):
        reference = read_json(path)
        found = Path(reference["folder"])
        if all(sha256_file(found / name) == sha for name, sha in reference["files"].items()):
            return found
    raise InputError(
        model,
        "expected a bundle of mambatalk, found another model, or a reference to changed files",
        "register the model of the stage `bundle`",
    )
