"""Downloads from a hub on loopback that drops, cuts, lies, refuses and asks for patience."""

import random
import time

import pytest

from mambatalk.download import hub as download_hub
from mambatalk.download.hub import LONGEST_WAIT, REVISION, TRIES
from mambatalk.errors import InputError
from tests.helpers.hub_downloads import ENGLISH, corpus, fetch, on_disk, path_of
from tests.helpers.hub_server import Hub, running


@pytest.fixture
def hub():
    with running(Hub(corpus(), REVISION)) as value:
        yield value


@pytest.fixture
def waits(monkeypatch):
    """Let nobody wait, and say how long the waits of a second or more would have been; shorter ones
    are for locks.
    """
    asked = []
    monkeypatch.setattr(
        time, "sleep", lambda seconds: asked.append(seconds) if seconds >= 1 else None
    )
    return asked


@pytest.mark.parametrize(
    "faults", [["drop"], ["reset"], ["short"], ["lie"], ["503"], ["lie", "drop", "short", "503"]]
)
def test_what_goes_wrong_with_a_body_is_mended(hub, tmp_path, waits, faults):
    path = path_of("2_scott_0_1_1", "wave16k")
    hub.faults[path] = list(faults)
    fetch(hub, tmp_path, speakers=frozenset({2}))
    assert (tmp_path / path).read_bytes() == hub.files[path]
    assert hub.faults[path] == []
    assert hub.sent_whole().count(path) == (2 if "lie" in faults else 1)
    assert waits


def test_a_large_file_goes_on_from_where_the_connection_dropped(hub, tmp_path, waits):
    path = f"{ENGLISH}/weights/AESKConv_240_100.bin"
    hub.files[path] = random.Random(2).randbytes(21 * 2**20)
    hub.faults[path] = ["drop"]
    fetch(hub, tmp_path, speakers=frozenset({2}))
    assert (tmp_path / path).read_bytes() == hub.files[path]
    assert [entry["range"] for entry in hub.asked(path) if "range" in entry] == [
        None,
        f"bytes={10 * 2**20}-",
    ]


@pytest.mark.parametrize("status", ["429", "503"])
@pytest.mark.parametrize(
    "request_",
    [
        f"HEAD {path_of('2_scott_0_1_1')}",
        f"GET {path_of('2_scott_0_1_1')}",
        "tree",
        path_of("2_scott_0_1_1"),
    ],
)
def test_the_hub_is_left_alone_for_as_long_as_it_asks(hub, tmp_path, waits, request_, status):
    hub.faults[request_] = [status, status]
    fetch(hub, tmp_path, speakers=frozenset({2}))
    assert hub.faults[request_] == []
    assert (tmp_path / path_of("2_scott_0_1_1")).read_bytes() == hub.files[path_of("2_scott_0_1_1")]
    assert any(3 <= wait < 5 for wait in waits)


@pytest.mark.parametrize("request_", ["HEAD", "GET"])
def test_a_wait_that_the_hub_asks_for_has_a_limit(hub, tmp_path, waits, request_):
    hub.retry_after = 10**6
    hub.faults[f"{request_} {path_of('2_scott_0_1_1')}"] = ["429", "503"]
    fetch(hub, tmp_path, speakers=frozenset({2}))
    assert max(waits) <= LONGEST_WAIT + 1


@pytest.mark.parametrize("request_", ["tree", "revision"])
def test_a_hub_that_says_nothing_is_not_waited_for(hub, tmp_path, waits, monkeypatch, request_):
    monkeypatch.setattr(download_hub, "TIMEOUT", 0.2)
    hub.faults[request_] = ["stall*"]
    with pytest.raises(InputError, match="Timeout"):
        fetch(
            hub,
            tmp_path,
            speakers=frozenset({2}),
            revision="main" if request_ == "revision" else REVISION,
        )


@pytest.mark.parametrize(
    ("request_", "fault", "named"),
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
def test_what_cannot_be_mended_is_one_line_and_leaves_no_damaged_file(
    hub, tmp_path, waits, request_, fault, named
):
    hub.faults[request_] = [f"{fault}*"]
    with pytest.raises(InputError, match=named) as caught:
        fetch(
            hub,
            tmp_path,
            speakers=frozenset({2}),
            revision="main" if request_ == "revision" else REVISION,
        )
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    if fault in ("401", "403", "404"):
        assert len([entry for entry in hub.log if entry["status"] == int(fault)]) <= 2
        assert waits == []
    if fault == "lie":
        assert len(hub.asked(request_)) >= TRIES
    assert all(
        content == hub.files[path]
        for path, content in on_disk(tmp_path).items()
        if path.startswith(ENGLISH)
    )


def test_a_hub_that_is_not_there_is_one_line(tmp_path, waits):
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
def test_an_answer_of_something_else_than_a_hub_is_one_line(hub, tmp_path, answer):
    hub.faults["tree"] = [answer]
    with pytest.raises(InputError, match="check HF_ENDPOINT"):
        fetch(hub, tmp_path)
