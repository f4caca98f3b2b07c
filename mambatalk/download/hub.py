"""What is asked of the hub, with patience: what passes is tried again, what stays is told in one
line.

huggingface_hub does the transport: pages, redirects, ranges after a dropped connection, waits that
the hub asks for. It gives up on some passing faults at once (a 503 in place of a file, a reset
connection), so each call is repeated here.
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
"""The commit "init" of 10 February 2024, the only one that holds data."""
TRIES: Final = 5
TIMEOUT: Final = 30.0
LONGEST_WAIT: Final = 120
"""Seconds before another try, whatever the hub asks for."""
_PASSING: Final = frozenset({408, 429, 500, 502, 503, 504})
_BACK_OFF: Final = wait_exponential_jitter(initial=1, max=30)
_LOG: Final = logging.getLogger(__name__)
T = TypeVar("T")


class DamagedError(Exception):
    """A file came whole as far as the connection can tell, with other content than was listed."""


def connect(endpoint: str | None = None) -> HfApi:
    """Speak to the hub at `endpoint`, by default where HF_ENDPOINT says, and write nothing outside
    a given folder.
    """
    # Xet keeps caches and logs in the home folder and gains nothing on files of a few megabytes;
    # telemetry keeps a list there too. Both are the library's own switches, of the environment,
    # read when it is imported.
    constants.HF_HUB_DISABLE_XET = True
    constants.HF_HUB_DISABLE_TELEMETRY = True
    set_client_factory(_client)
    return HfApi(endpoint=endpoint, library_name="mambatalk", library_version=__version__)


def _client() -> httpx2.Client:
    client = default_client_factory()
    client.event_hooks = {
        "request": [*client.event_hooks["request"], _end_of_patience],
        "response": [*client.event_hooks["response"], _limit_wait],
    }
    return client


def _end_of_patience(request: httpx2.Request) -> None:
    """Listings are asked for without any limit: a hub that takes the call and says nothing would be
    heard for ever.
    """
    if request.extensions["timeout"]["read"] is None:
        request.extensions["timeout"] = httpx2.Timeout(TIMEOUT).as_dict()


def _limit_wait(response: httpx2.Response) -> None:
    """Shorten what is asked for, also for huggingface_hub, which sleeps for as long as it is
    told.
    """
    asked = response.headers.get("Retry-After", "")
    if asked.isdecimal():
        response.headers["Retry-After"] = str(min(int(asked), LONGEST_WAIT))


def patiently(where: object, call: Callable[[], T], *, tries: int = TRIES) -> T:
    """Return what `call` returns, after so many tries at most.

    Raises:
        InputError: It fails for good (401, 404, a full disk), or still fails at the last try.

    """
    retrying = Retrying(
        stop=stop_after_attempt(tries),
        wait=_wait,
        retry=retry_if_exception(_passes),
        reraise=True,
        before_sleep=lambda state: _LOG.warning("trying again: %s", _found(_failure(state))),
    )
    try:
        return retrying(call)
    except (httpx2.HTTPError, OSError, DamagedError) as error:
        raise _told(where, _cause(error)) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            where,
            f"expected its API, found an answer that is none of a hub ({type(error).__name__})",
            "check HF_ENDPOINT, and whether this network asks for a login first",
        ) from error


def resolve(api: HfApi, revision: str) -> str:
    """Full commit of a branch, a tag, or the beginning of a commit's hash.

    Raises:
        InputError: The repository has no such revision, or the hub does not answer.

    """
    if _is_hex(revision, 40):
        return revision

    def ask() -> str | None:
        try:
            return api.dataset_info(REPOSITORY, revision=revision, timeout=TIMEOUT).sha
        except RevisionNotFoundError:
            commits = [
                commit.commit_id
                for commit in api.list_repo_commits(REPOSITORY, repo_type="dataset")
            ]
            found = [
                commit for commit in commits if len(revision) >= 7 and commit.startswith(revision)
            ]
            return found[0] if len(found) == 1 else None

    commit = patiently(f"{api.endpoint}/datasets/{REPOSITORY}", ask)
    if commit is None or not _is_hex(commit, 40):
        raise InputError(
            "--revision",
            f"expected a branch, a tag or a commit of {REPOSITORY}, found {repr(revision)}",
            "leave the option away for the revision that this program was written for",
        )
    return commit


def list_files(api: HfApi, commit: str, folder: str) -> list[RemoteFile]:
    """Every file under a folder of the data set at one commit.

    Raises:
        InputError: No such commit or folder, or the hub does not answer.

    """
    where = f"{api.endpoint}/datasets/{REPOSITORY}/tree/{commit}/{folder}"
    # huggingface_hub tries each page for half a minute; who has no network should not wait for
    # longer.
    return patiently(
        where,
        lambda: [
            _remote(entry)
            for entry in api.list_repo_tree(
                REPOSITORY, folder, recursive=True, revision=commit, repo_type="dataset"
            )
            if isinstance(entry, RepoFile)
        ],
        tries=1,
    )


def _remote(entry: RepoFile) -> RemoteFile:
    size, sha256 = (entry.lfs.size, entry.lfs.sha256) if entry.lfs else (entry.size, None)
    if (
        not isinstance(size, int)
        or size < 0
        or not _is_hex(entry.blob_id, 40)
        or (sha256 and not _is_hex(sha256, 64))
    ):
        raise ValueError(entry.path)
    return RemoteFile(entry.path, size, sha256, entry.blob_id)


def _is_hex(text: str, length: int) -> bool:
    return len(text) == length and set(text) <= set("0123456789abcdef")


def _cause(error: BaseException | None) -> BaseException | None:
    """Undo the wrapping by which huggingface_hub says that there is no local copy either."""
    return (
        error.__cause__ if isinstance(error, LocalEntryNotFoundError) and error.__cause__ else error
    )


def _passes(error: BaseException) -> bool:
    cause = _cause(error)
    if isinstance(cause, HfHubHTTPError):
        return cause.response.status_code in _PASSING
    # huggingface_hub tells a body of another length than announced by a bare OSError.
    short = type(cause) is OSError and cause.errno is None
    return short or isinstance(cause, httpx2.TransportError | DamagedError)


def _failure(state: RetryCallState) -> BaseException | None:
    return _cause(state.outcome.exception()) if state.outcome else None


def _wait(state: RetryCallState) -> float:
    cause = _failure(state)
    asked = (
        cause.response.headers.get("Retry-After", "") if isinstance(cause, HfHubHTTPError) else ""
    )
    return float(asked) if asked.isdigit() else _BACK_OFF(state)


def _found(error: BaseException | None) -> str:
    if isinstance(error, HfHubHTTPError):
        return f"{error.response.status_code} from the hub"
    return (
        str(error)[:200]
        if isinstance(error, DamagedError)
        else f"{type(error).__name__}: {str(error)[:200]}"
    )


def _told(where: object, error: BaseException | None) -> InputError:
    again = "run the same command again; what is whole is not fetched twice"
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    found, expected, do = _found(error), "an answer", f"check the network and {again}"
    if isinstance(error, DamagedError):
        found, expected = f"{found}, {TRIES} times", "what the hub lists"
        do = f"{again}; where it stays so, the server or a proxy alters files"
    elif isinstance(error, OfflineModeIsEnabled):
        do = "unset HF_HUB_OFFLINE"
    elif isinstance(error, OSError) and error.errno is not None:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        expected = "room to write" if full else "a place to write to"
        do = f"free some space and {again}" if full else f"mend that and {again}"
    elif status in _PASSING:
        found, do = f"{found}, again and again", f"wait a while and {again}"
    elif status in (401, 403):
        expected = "a public data set"
        do = "remove or renew HF_TOKEN: a token that has expired is refused for public data too"
    elif status is not None:
        do = "check --revision and, where it is set, HF_ENDPOINT"
    return InputError(where, f"expected {expected}, found {found}", do)
