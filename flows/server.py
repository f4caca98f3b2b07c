"""The Prefect server of a team: whether it answers, and has the version of this machine."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import prefect
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import get_current_settings

from mambatalk.errors import InputError


def check_server() -> None:
    """Check the server at `PREFECT_API_URL`; without one, Prefect starts one of its own version.

    Raises:
        InputError: The server does not answer, or has another version of Prefect.

    """
    if get_current_settings().api.url:
        with server_errors(), get_client(sync_client=True) as client:
            check_version(client)


def check_version(client: SyncPrefectClient) -> None:
    """Raise `InputError` if a server has another version of Prefect than this machine."""
    version = client.api_version()
    if version != prefect.__version__:
        raise InputError(
            f"Prefect server {client.api_url}",
            f"expected version {prefect.__version__}, that of this machine, found {version}",
            "upgrade the server first, then workers and this machine (docs/operations.md)",
        )


@contextmanager
def server_errors() -> Iterator[None]:
    """Convert the errors of a server that does not answer, or refuses, into `InputError`."""
    try:
        yield
    except (httpx.TransportError, PrefectHTTPStatusError, RuntimeError) as error:
        raise InputError(
            f"Prefect server {get_current_settings().api.url}",
            f"expected an answer, found an error ({' '.join(str(error).split())[:300]})",
            "start the server, or correct PREFECT_API_URL and PREFECT_API_AUTH_STRING",
        ) from error
