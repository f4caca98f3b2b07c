"""Requests to the hub, with retries.

huggingface_hub does the transport: pagination, redirects, resuming after a dropped connection, and
waiting when the hub requests it. It gives up on some transient errors (a 503 instead of a file, a
reset connection), so each request is retried here. Permanent errors end in one line.
"""

import errno
import logging
from collections.abc import Callable
from typing import Final, TypeVar

import httpx2
from huggingface_hub import HfApi, constants, set_client_factory
from huggingface_hub.errors import (
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils._http import default_client_factory
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    wait_exponential_jitter,
)

from mambatalk import __version__
from mambatalk.download.selection import RemoteFile
from mambatalk.errors import InputError

REPOSITORY: Final = "H-Liu1997/BEAT2"
REVISION: Final = "8689ecb43513ba31964fd60e0ca69be02d3b0872"
"""The commit "init" of 10 February 2024, the only one with data."""
MAX_ATTEMPTS: Final = 5
READ_TIMEOUT: Final = 30.0
"""Seconds without data after which a request fails."""
MAX_RETRY_WAIT: Final = 120
"""Longest wait before a retry in seconds, even if the hub requests more."""
_TRANSIENT_STATUS: Final = frozenset({408, 429, 500, 502, 503, 504})
_BACK_OFF: Final = wait_exponential_jitter(initial=1, max=30)
_LOG: Final = logging.getLogger(__name__)
T = TypeVar("T")


class DamagedError(Exception):
    """A file was received completely, but its content differs from the listing."""


def connect(endpoint: str | None = None) -> HfApi:
    """Return a client of the hub that writes nothing outside the output folder.

    Args:
        endpoint: Address of the hub. If None, use `HF_ENDPOINT` or the public hub.

    """
    # Xet writes caches and logs to the home folder and is no faster for files of a few megabytes;
    # telemetry writes there too. The environment variables for both are read at import time.
    constants.HF_HUB_DISABLE_XET = True
    constants.HF_HUB_DISABLE_TELEMETRY = True
    set_client_factory(_build_client)
    return HfApi(endpoint=endpoint, library_name="mambatalk", library_version=__version__)


def _build_client() -> httpx2.Client:
    client = default_client_factory()
    client.event_hooks = {
        "request": [*client.event_hooks["request"], _set_read_timeout],
        "response": [*client.event_hooks["response"], _limit_retry_after],
    }
    return client


def _set_read_timeout(request: httpx2.Request) -> None:
    """Set a read timeout if there is none; a stalled connection would hang without it."""
    if request.extensions["timeout"]["read"] is None:
        request.extensions["timeout"] = httpx2.Timeout(READ_TIMEOUT).as_dict()


def _limit_retry_after(response: httpx2.Response) -> None:
    """Limit the Retry-After header, because huggingface_hub waits for the full time."""
    seconds = response.headers.get("Retry-After", "")
    if seconds.isdecimal():
        response.headers["Retry-After"] = str(min(int(seconds), MAX_RETRY_WAIT))


def with_retries(where: object, call: Callable[[], T], *, attempts: int = MAX_ATTEMPTS) -> T:
    """Return the result of `call`, retrying transient errors with exponential back-off.

    Args:
        where: Location shown in error messages.
        call: Function to call.
        attempts: Largest number of calls.

    Raises:
        InputError: The error is permanent (401, 404, a full disk), or the last attempt failed.

    """
    retrying = Retrying(
        stop=stop_after_attempt(attempts),
        wait=_seconds_until_retry,
        retry=retry_if_exception(_is_retryable),
        reraise=True,
        before_sleep=_log_retry,
    )
    try:
        return retrying(call)
    except (httpx2.HTTPError, OSError, DamagedError) as error:
        raise _to_user_error(where, _root_cause(error)) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            where,
            f"expected an answer of the hub's API, found something else ({type(error).__name__})",
            "check HF_ENDPOINT, and whether this network requires a login",
        ) from error


def resolve_revision(api: HfApi, revision: str) -> str:
    """Return the full commit hash of a branch, a tag or an abbreviated commit hash.

    Raises:
        InputError: The repository has no such revision, or the hub does not answer.

    """
    if _is_hex(revision, 40):
        return revision

    def find_commit() -> str | None:
        try:
            info = api.dataset_info(REPOSITORY, revision=revision, timeout=READ_TIMEOUT)
            return info.sha
        except RevisionNotFoundError:
            # Git needs seven digits of a hash to be reasonably sure that it is unique.
            if len(revision) < 7:
                return None
            history = api.list_repo_commits(REPOSITORY, repo_type="dataset")
            found = [entry.commit_id for entry in history if entry.commit_id.startswith(revision)]
            return found[0] if len(found) == 1 else None

    commit = with_retries(f"{api.endpoint}/datasets/{REPOSITORY}", find_commit)
    if commit is None or not _is_hex(commit, 40):
        raise InputError(
            "--revision",
            f"expected a branch, a tag or a commit of {REPOSITORY}, found {revision!r}",
            "omit the option to use the tested revision",
        )
    return commit


def list_files(api: HfApi, commit: str, folder: str) -> list[RemoteFile]:
    """Return every file below a folder of the data set at one commit.

    Args:
        api: From `connect`.
        commit: Commit hash.
        folder: Folder of the data set.

    Raises:
        InputError: There is no such commit or folder, or the hub does not answer.

    """

    def request_listing() -> list[RemoteFile]:
        entries = api.list_repo_tree(
            REPOSITORY, folder, recursive=True, revision=commit, repo_type="dataset"
        )
        return [_to_remote_file(entry) for entry in entries if isinstance(entry, RepoFile)]

    where = f"{api.endpoint}/datasets/{REPOSITORY}/tree/{commit}/{folder}"
    # huggingface_hub itself retries each page for half a minute, which is long enough for a user
    # without a network connection.
    return with_retries(where, request_listing, attempts=1)


def _to_remote_file(entry: RepoFile) -> RemoteFile:
    if entry.lfs:
        size, sha256 = entry.lfs.size, entry.lfs.sha256
    else:
        size, sha256 = entry.size, None
    valid = (
        isinstance(size, int)
        and size >= 0
        and _is_hex(entry.blob_id, 40)
        and (not sha256 or _is_hex(sha256, 64))
    )
    if not valid:
        raise ValueError(entry.path)
    return RemoteFile(entry.path, size, sha256, entry.blob_id)


def _is_hex(text: str, length: int) -> bool:
    return len(text) == length and set(text) <= set("0123456789abcdef")


def _root_cause(error: BaseException | None) -> BaseException | None:
    """Return the cause if huggingface_hub wrapped the error of a missing local copy around it."""
    if isinstance(error, LocalEntryNotFoundError) and error.__cause__:
        return error.__cause__
    return error


def _is_retryable(error: BaseException) -> bool:
    cause = _root_cause(error)
    if isinstance(cause, HfHubHTTPError):
        return cause.response.status_code in _TRANSIENT_STATUS
    # huggingface_hub raises a plain OSError if the body is shorter or longer than announced.
    wrong_length = type(cause) is OSError and cause.errno is None
    return wrong_length or isinstance(cause, httpx2.TransportError | DamagedError)


def _last_error(state: RetryCallState) -> BaseException | None:
    return _root_cause(state.outcome.exception()) if state.outcome else None


def _log_retry(state: RetryCallState) -> None:
    _LOG.warning("retrying: %s", _failure_reason(_last_error(state)))


def _seconds_until_retry(state: RetryCallState) -> float:
    error = _last_error(state)
    if isinstance(error, HfHubHTTPError):
        requested = error.response.headers.get("Retry-After", "")
        if requested.isdecimal():
            return float(requested)
    return _BACK_OFF(state)


def _failure_reason(error: BaseException | None) -> str:
    if isinstance(error, HfHubHTTPError):
        return f"status {error.response.status_code} from the hub"
    if isinstance(error, DamagedError):
        return str(error)[:200]
    return f"{type(error).__name__}: {str(error)[:200]}"


def _to_user_error(where: object, error: BaseException | None) -> InputError:
    again = "run the same command again; complete files are not downloaded twice"
    reason = _failure_reason(error)
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None

    expected = "an answer"
    hint = f"check the network connection and {again}"
    if isinstance(error, DamagedError):
        expected = "the listed content"
        reason = f"{reason} in each of {MAX_ATTEMPTS} attempts"
        hint = f"{again}; if the error persists, the server or a proxy changes files"
    elif isinstance(error, OfflineModeIsEnabled):
        hint = "unset HF_HUB_OFFLINE"
    elif isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        expected = "free disk space"
        hint = f"free some space and {again}"
    elif isinstance(error, OSError) and error.errno is not None:
        expected = "a writable folder"
        hint = f"fix the problem and {again}"
    elif status in _TRANSIENT_STATUS:
        reason = f"{reason} after all retries"
        hint = f"wait a while and {again}"
    elif status in (401, 403):
        expected = "access to a public data set"
        hint = "unset or renew HF_TOKEN; an expired token is refused for public data, too"
    elif status is not None:
        hint = "check --revision and HF_ENDPOINT"
    return InputError(where, f"expected {expected}, found {reason}", hint)
