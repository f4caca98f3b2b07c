"""Downloads from a hub with faults: dropped connections, wrong content, errors and waits."""

import errno
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub.errors import OfflineModeIsEnabled

from mambatalk.download import hub as download_hub
from mambatalk.download.hub import MAX_ATTEMPTS, MAX_RETRY_WAIT, REVISION, with_retries
from mambatalk.errors import InputError
from tests.helpers.hub_downloads import ENGLISH, corpus, fetch, on_disk, path_of
from tests.helpers.hub_server import Hub, running


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running(Hub(corpus(), REVISION)) as server:
        yield server


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Skip all waits and record those of a second or more; locks use shorter ones."""
    recorded: list[float] = []

    def sleep(seconds: float) -> None:
        if seconds >= 1:
            recorded.append(seconds)

    monkeypatch.setattr(time, "sleep", sleep)
    return recorded


@pytest.mark.parametrize(
    "faults", [["drop"], ["reset"], ["short"], ["lie"], ["503"], ["lie", "drop", "short", "503"]]
)
def test_a_transfer_with_transient_faults_succeeds(
    hub: Hub, tmp_path: Path, waits: list[float], faults: list[str]
) -> None:
    path = path_of("2_scott_0_1_1", "wave16k")
    hub.faults[path] = list(faults)
    fetch(hub, tmp_path, speakers=frozenset({2}))
    assert (tmp_path / path).read_bytes() == hub.files[path]
    assert hub.faults[path] == []
    assert hub.completed_paths().count(path) == (2 if "lie" in faults else 1)
    assert waits


def test_a_large_file_resumes_where_the_connection_dropped(
    hub: Hub, tmp_path: Path, waits: list[float]
) -> None:
    path = f"{ENGLISH}/weights/AESKConv_240_100.bin"
    hub.files[path] = random.Random(2).randbytes(21 * 2**20)
    hub.faults[path] = ["drop"]
    fetch(hub, tmp_path, speakers=frozenset({2}))
    assert (tmp_path / path).read_bytes() == hub.files[path]
    assert [entry["range"] for entry in hub.requests_of(path) if "range" in entry] == [
        None,
        f"bytes={10 * 2**20}-",
    ]


@pytest.mark.parametrize("status", ["429", "503"])
@pytest.mark.parametrize(
    "faulty_request",
    [
        f"HEAD {path_of('2_scott_0_1_1')}",
        f"GET {path_of('2_scott_0_1_1')}",
        "tree",
        path_of("2_scott_0_1_1"),
    ],
)
def test_a_retry_waits_as_long_as_the_hub_requests(
    hub: Hub, tmp_path: Path, waits: list[float], faulty_request: str, status: str
) -> None:
    hub.faults[faulty_request] = [status, status]
    fetch(hub, tmp_path, speakers=frozenset({2}))
    assert hub.faults[faulty_request] == []
    assert (tmp_path / path_of("2_scott_0_1_1")).read_bytes() == hub.files[path_of("2_scott_0_1_1")]
    assert any(3 <= wait < 5 for wait in waits)


@pytest.mark.parametrize("faulty_request", ["HEAD", "GET"])
def test_the_wait_before_a_retry_is_limited(
    hub: Hub, tmp_path: Path, waits: list[float], faulty_request: str
) -> None:
    hub.retry_after = 10**6
    hub.faults[f"{faulty_request} {path_of('2_scott_0_1_1')}"] = ["429", "503"]
    fetch(hub, tmp_path, speakers=frozenset({2}))
    assert max(waits) <= MAX_RETRY_WAIT + 1


@pytest.mark.parametrize("faulty_request", ["tree", "revision"])
def test_a_stalled_connection_times_out(
    hub: Hub,
    tmp_path: Path,
    waits: list[float],
    monkeypatch: pytest.MonkeyPatch,
    faulty_request: str,
) -> None:
    monkeypatch.setattr(download_hub, "READ_TIMEOUT", 0.2)
    hub.faults[faulty_request] = ["stall*"]
    with pytest.raises(InputError, match="Timeout"):
        fetch(
            hub,
            tmp_path,
            speakers=frozenset({2}),
            revision="main" if faulty_request == "revision" else REVISION,
        )


@pytest.mark.parametrize(
    ("faulty_request", "fault", "named"),
    [
        (path_of("2_scott_0_1_1"), "lie", "sha256"),
        (path_of("2_scott_0_1_1", "sem"), "lie", "git's hash"),
        (path_of("2_scott_0_1_1"), "short", "should be of size"),
        (path_of("2_scott_0_1_1"), "503", "503 from the hub"),
        (f"HEAD {path_of('2_scott_0_1_1')}", "503", "503 from the hub"),
        (f"HEAD {path_of('2_scott_0_1_1')}", "401", "HF_TOKEN"),
        (f"HEAD {path_of('2_scott_0_1_1')}", "404", "404 from the hub"),
        (f"GET {path_of('2_scott_0_1_1')}", "403", "HF_TOKEN"),
        ("tree", "503", "503 from the hub"),
        ("tree", "401", "HF_TOKEN"),
        ("revision", "404", "404 from the hub"),
    ],
)
def test_a_permanent_fault_is_reported_in_one_line_and_leaves_no_damaged_file(
    hub: Hub, tmp_path: Path, waits: list[float], faulty_request: str, fault: str, named: str
) -> None:
    hub.faults[faulty_request] = [f"{fault}*"]
    with pytest.raises(InputError, match=named) as caught:
        fetch(
            hub,
            tmp_path,
            speakers=frozenset({2}),
            revision="main" if faulty_request == "revision" else REVISION,
        )
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    if fault in ("401", "403", "404"):
        assert len([entry for entry in hub.log if entry["status"] == int(fault)]) <= 2
        assert waits == []
    if fault == "lie":
        assert len(hub.requests_of(faulty_request)) >= MAX_ATTEMPTS
    assert all(
        content == hub.files[path]
        for path, content in on_disk(tmp_path).items()
        if path.startswith(ENGLISH)
    )


def test_an_unreachable_hub_is_reported_in_one_line(tmp_path: Path, waits: list[float]) -> None:
    with running(Hub({}, REVISION)) as hub:
        pass
    with pytest.raises(InputError, match="check the network"):
        fetch(hub, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>Log in to this network</html>",
        b'{"error": "none"}',
        b'[{"type": "file"}]',
        b'[{"type": "file", "path": "x", "oid": "y", "size": "large"}]',
    ],
)
def test_an_answer_that_is_not_from_a_hub_is_reported_in_one_line(
    hub: Hub, tmp_path: Path, answer: bytes
) -> None:
    hub.faults["tree"] = [answer]
    with pytest.raises(InputError, match="check HF_ENDPOINT"):
        fetch(hub, tmp_path)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "full"), "expected free disk space, found OSError: .*free some"),
        (OSError(errno.EDQUOT, "quota"), "expected free disk space"),
        (PermissionError(errno.EACCES, "denied"), "expected a writable folder"),
        (OfflineModeIsEnabled("offline"), "unset HF_HUB_OFFLINE"),
    ],
)
def test_an_error_of_this_machine_is_not_blamed_on_the_network(
    error: Exception, message: str
) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(InputError, match=message):
        with_retries("clip.npz", fail)
