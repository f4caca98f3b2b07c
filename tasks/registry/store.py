"""The registered model `mambatalk` in MLflow, and errors of the registry in one line."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mambatalk.errors import InputError
from tasks.tracking.sender import one_line, without_password
from tasks.tracking.store import connect, local_store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

NAME: Final = "mambatalk"
"""Name of the registered model."""
DIGEST_TAG: Final = "bundle_digest"
"""Tag of a version: the digest of its bundle, from `bundle.json`."""

_TIMEOUT: Final = "MLFLOW_HTTP_REQUEST_TIMEOUT"
_ANSWER_SECONDS: Final = 120
"""MLflow's own default."""


class RegistryError(InputError):
    """The registry does not answer, or refuses a request; nothing else was changed."""


@contextmanager
def registry_errors() -> Iterator[None]:
    """Convert errors of MLflow into `RegistryError`.

    Raises:
        RegistryError: MLflow does not answer, or refuses a request.

    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise RegistryError(
            f"model registry {registry_address()}",
            f"expected an answer, found an error ({one_line(error)})",
            "start the server, or correct MLFLOW_TRACKING_URI; the champion is unchanged, and the "
            "command can be repeated",
        ) from error


def registry_address() -> str:
    """Return the address of the registry without a password."""
    return without_password(os.environ.get("MLFLOW_TRACKING_URI") or local_store())


def open_registry() -> "MlflowClient":
    """Return a client of the registry, in which the registered model exists.

    Raises:
        RegistryError: MLflow does not answer, or its version does not work with this machine's.

    """
    # Workers give MLflow 5 s, because the records of a build can wait. Registration and decisions
    # cannot, and a loaded server takes longer.
    seconds = int(os.environ.get(_TIMEOUT) or _ANSWER_SECONDS)
    os.environ[_TIMEOUT] = str(max(seconds, _ANSWER_SECONDS))
    # Without urllib3's warning for each retry; `registry_errors` reports the final failure.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    with registry_errors():
        from mlflow.exceptions import MlflowException

        client, _ = connect()
        _check_server_version()
        try:
            client.create_registered_model(
                NAME, description="Speech to SMPL-X motion. Load `models:/mambatalk@champion`."
            )
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        return client


def _check_server_version() -> None:
    """Verify that a server is not older than this machine's MLflow, and of the same major version.

    Raises:
        RegistryError: It is older, or of another major version.

    """
    import mlflow
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request
    from packaging.version import InvalidVersion, Version

    address = mlflow.get_tracking_uri()
    if not address.startswith("http"):
        return
    server_and_password = get_default_host_creds(address)  # type: ignore[no-untyped-call]
    answer = http_request(server_and_password, "/version", "GET")  # type: ignore[no-untyped-call]
    try:
        server, own = Version(answer.text), Version(mlflow.__version__)
    except InvalidVersion:
        # A proxy may answer for some paths only.
        return
    if server.major != own.major or server.minor < own.minor:
        raise RegistryError(
            f"model registry {registry_address()}",
            f"expected an MLflow server of version {own.major}.{own.minor} or a later "
            f"{own.major}.x, found {server}",
            "upgrade the server before workers and this machine (docs/operations.md, Upgrades)",
        )


def find_version(client: "MlflowClient", bundle_digest: str) -> "ModelVersion | None":
    """Return the newest version that holds a bundle; None if it is not registered."""
    found = client.search_model_versions(
        f"name = '{NAME}' and tags.{DIGEST_TAG} = '{bundle_digest}'"
    )
    return max(found, key=lambda version: int(version.version), default=None)


def read_version(client: "MlflowClient", version: str) -> "ModelVersion":
    """Return one version.

    Raises:
        InputError: There is no such version.

    """
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version(NAME, version)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        raise InputError(
            f"version {version!r}",
            f"expected a version of the registered model {NAME}, found none",
            "`python -m flows.status` lists the versions",
        ) from None


def no_version() -> InputError:
    """Return the error of a registry that has neither a champion nor a challenger."""
    return InputError(
        f"registered model {NAME}",
        "expected a challenger or a champion, found neither",
        "register a bundle: `python -m tasks.registry`",
    )


def download_version(client: "MlflowClient", version: str, folder: Path) -> Path:
    """Download the model of a version.

    Args:
        client: Client of the registry.
        version: Number of the version.
        folder: Existing folder for the files.

    Returns:
        The folder that holds `bundle`, as `mambatalk.serving.registered.load_registered` reads it.

    Raises:
        InputError: There is no such version, or it is not a bundle that `register` registered.

    """
    import mlflow

    # Not at the top: flows import this module, and should not wait for PyTorch.
    from mambatalk.serving.registered import BUNDLE_FOLDER

    read_version(client, version)
    # Without the code of the library, whose hundreds of files took minutes from a loaded store.
    data = Path(
        mlflow.artifacts.download_artifacts(
            artifact_uri=f"models:/{NAME}/{version}/data", dst_path=str(folder)
        )
    )
    found = next(data.glob(f"*/{BUNDLE_FOLDER}/bundle.json"), None)
    if found is None:
        raise InputError(
            f"version {version}",
            "expected a model with a bundle, found another model",
            "register bundles with `python -m tasks.registry` only",
        )
    return found.parents[1]
