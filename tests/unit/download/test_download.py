"""Content and record of a download, and listings that are refused, with a hub on loopback."""

import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock, Timeout

from mambatalk.download import transfer as module
from mambatalk.download.hub import REVISION, connect
from mambatalk.download.licence import ACCEPTED, is_accepted, record_acceptance
from mambatalk.download.selection import language_folder
from mambatalk.download.transfer import plan_download
from mambatalk.errors import InputError
from mambatalk.files import read_json, sha256_file
from tests.helpers.hub_downloads import ENGLISH, corpus, fetch, on_disk, path_of, wait_until
from tests.helpers.hub_server import Hub, running

LOCK = ".download/lock"


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running(Hub(corpus(), REVISION)) as server:
        yield server


def test_a_download_writes_the_selected_files_and_a_record(hub: Hub, tmp_path: Path) -> None:
    progress: list[tuple[int, int]] = []
    files = fetch(
        hub,
        tmp_path,
        speakers=frozenset({2}),
        progress=lambda done, total: progress.append((done, total)),
    )
    wanted = {
        path: content
        for path, content in hub.files.items()
        if path.startswith(ENGLISH) and "4_lawrence" not in path and not path.endswith("readme.md")
    }
    record = read_json(tmp_path / "download.json")
    assert on_disk(tmp_path) == {
        **wanted,
        "download.json": (tmp_path / "download.json").read_bytes(),
        LOCK: b"",
    }
    assert (record["repository"], record["commit"]) == ("H-Liu1997/BEAT2", REVISION)
    assert {path: (file["size"], file["sha256"]) for path, file in record["files"].items()} == {
        path: (len(content), sha256_file(tmp_path / path)) for path, content in wanted.items()
    }
    assert all(file.fetched for file in files.values())
    total = sum(map(len, wanted.values()))
    assert progress[-1] == (total, total)
    assert progress == sorted(progress)


def test_a_second_run_adds_files_and_downloads_none_twice(hub: Hub, tmp_path: Path) -> None:
    fetch(hub, tmp_path, speakers=frozenset({2}))
    first = len(hub.log)
    files = fetch(hub, tmp_path)
    assert {path for path, file in files.items() if file.fetched} == {
        path for path in hub.files if "4_lawrence" in path
    }
    fetch(hub, tmp_path, language="chinese")
    assert sorted(hub.completed_paths()) == sorted(
        path for path in hub.files if not path.endswith("readme.md")
    )
    assert {path.partition("/")[0] for path in read_json(tmp_path / "download.json")["files"]} == {
        ENGLISH,
        "beat_chinese_v2.0.0",
    }
    assert first < len(hub.log)


def test_a_file_that_changed_on_disk_is_downloaded_again(hub: Hub, tmp_path: Path) -> None:
    fetch(hub, tmp_path)
    changed = tmp_path / path_of("2_scott_0_1_1", "sem"), tmp_path / path_of("2_scott_0_2_2")
    for path in changed:
        path.write_bytes(bytes(path.stat().st_size))
    (tmp_path / path_of("2_scott_0_3_3")).write_bytes(b"cut")
    files = fetch(hub, tmp_path)
    assert sorted(path for path, file in files.items() if file.fetched) == sorted(
        [path_of("2_scott_0_1_1", "sem"), path_of("2_scott_0_2_2"), path_of("2_scott_0_3_3")]
    )
    assert all((tmp_path / path).read_bytes() == hub.files[path] for path in files)


def test_a_revision_is_resolved_to_a_commit_and_recorded(hub: Hub, tmp_path: Path) -> None:
    fetch(hub, tmp_path, speakers=frozenset({2}), revision="main")
    assert read_json(tmp_path / "download.json")["commit"] == REVISION
    assert (
        plan_download(
            connect(hub.url), language="english", speakers=None, revision=REVISION[:7]
        ).commit
        == REVISION
    )
    with pytest.raises(InputError, match="--revision"):
        plan_download(connect(hub.url), language="english", speakers=None, revision="deadbeef")
    hub.commit = "a" * 40
    with pytest.raises(
        InputError, match=r"expected H-Liu1997/BEAT2 at a{40}, .*; use another folder"
    ):
        fetch(hub, tmp_path, revision="main")
    with pytest.raises(InputError, match="404 from the hub"):
        plan_download(connect(hub.url), language="english", speakers=None, revision=REVISION)


def test_a_changed_file_in_a_recorded_commit_is_refused(hub: Hub, tmp_path: Path) -> None:
    fetch(hub, tmp_path, speakers=frozenset({2}))
    hub.files[path_of("2_scott_0_1_1")] = b"other"
    with pytest.raises(InputError, match="found that the hub lists another"):
        fetch(hub, tmp_path, speakers=frozenset({2}))


@pytest.mark.parametrize("text", ["[]", "{}", '{"files": []}', "no JSON"])
def test_a_damaged_record_is_refused(hub: Hub, tmp_path: Path, text: str) -> None:
    (tmp_path / "download.json").write_text(text)
    with pytest.raises(InputError, match=r"download\.json"):
        fetch(hub, tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "../evil.npz",
        "smplxflame_30/../../../evil.npz",
        "wave16k//etc/evil.wav",
        "weights/..\\evil.bin",
        "weights/a\nb.bin",
        "weights/./evil.bin",
    ],
)
def test_a_file_name_outside_its_folder_is_refused(hub: Hub, tmp_path: Path, name: str) -> None:
    hub.files[f"{ENGLISH}/{name}"] = b"evil"
    with pytest.raises(InputError, match="expected file names inside their folder"):
        fetch(hub, tmp_path / "out")
    assert list(tmp_path.rglob("*evil*")) == []


def test_files_outside_the_layout_are_not_selected(hub: Hub, tmp_path: Path) -> None:
    strange = [
        "smplxflame_30/2_scott_0_1.npz",
        "smplxflame_30/2_scott_0_1_1.pkl",
        "weights/.hidden",
        "other/2_scott.npz",
        "smplxflame_30/deep/2_scott_0_1_1.npz",
    ]
    hub.files |= {f"{ENGLISH}/{name}": b"x" for name in strange}
    plan = plan_download(connect(hub.url), language="english", speakers=None, revision=REVISION)
    assert plan.not_selected == len(strange) + 1
    assert {file.path for file in plan.files} == {
        path for path in corpus() if path.startswith(ENGLISH) and not path.endswith("readme.md")
    }


def test_a_disk_that_is_too_small_is_found_before_the_transfer(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10**6}))
    with pytest.raises(InputError, match=r"expected 0\.07 GB of free space, found 0\.00 GB"):
        fetch(hub, tmp_path)
    assert hub.completed_paths() == []


def test_a_second_download_into_the_same_folder_is_refused(hub: Hub, tmp_path: Path) -> None:
    hub.gate = threading.Semaphore(0)
    first = threading.Thread(target=fetch, args=(hub, tmp_path))
    first.start()
    wait_until(lambda: any((tmp_path / ".download").rglob("*.incomplete")))
    try:
        with pytest.raises(InputError, match="expected no other download into this folder"):
            fetch(hub, tmp_path)
    finally:
        hub.gate.release(1000)
        first.join()
    assert list((tmp_path / ".download").iterdir()) == [tmp_path / LOCK]


def test_a_download_that_starts_when_another_ends_keeps_its_files(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class ReleasedToNext(FileLock):
        """A lock that another download takes as soon as it is released."""

        def __exit__(self, *error: Any) -> None:
            super().__exit__(*error)
            later.acquire(timeout=0)
            (tmp_path / ".download" / "its.incomplete").touch()

    later = FileLock(tmp_path / LOCK)
    monkeypatch.setattr(module, "FileLock", ReleasedToNext)
    fetch(hub, tmp_path, speakers=frozenset({2}))
    assert {path.name for path in (tmp_path / ".download").iterdir()} == {"lock", "its.incomplete"}
    with later, pytest.raises(Timeout):
        FileLock(tmp_path / LOCK).acquire(timeout=0)


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(InputError, match="one of english, chinese, spanish, japanese"):
        language_folder("klingon")


def test_capitals_do_not_matter_in_a_language() -> None:
    assert language_folder("English") == language_folder("english")


def test_changed_terms_have_to_be_accepted_again(tmp_path: Path) -> None:
    assert not is_accepted(tmp_path)
    record_acceptance(tmp_path)
    assert is_accepted(tmp_path)
    (tmp_path / ACCEPTED).write_text(
        (tmp_path / ACCEPTED).read_text().replace("non-commercial", "any")
    )
    assert not is_accepted(tmp_path)


def test_the_default_revision_is_the_commit_with_the_data() -> None:
    assert len(REVISION) == 40
    assert REVISION.startswith("8689ecb")


def test_the_record_does_not_depend_on_the_order_of_downloads(hub: Hub, tmp_path: Path) -> None:
    fetch(hub, tmp_path / "one")
    fetch(hub, tmp_path / "two", speakers=frozenset({4}))
    fetch(hub, tmp_path / "two")
    one, two = ((tmp_path / name / "download.json").read_text() for name in ("one", "two"))
    assert one == two
    assert json.loads(one)["files"]


def test_a_repository_without_a_corpus_is_refused(hub: Hub, tmp_path: Path) -> None:
    del hub.files[f"{ENGLISH}/train_test_split.csv"]
    with pytest.raises(InputError, match="expected a corpus in BEATX layout, found no .*split"):
        fetch(hub, tmp_path)
