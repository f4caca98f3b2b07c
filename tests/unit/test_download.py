"""`mambatalk download` against a hub on loopback that behaves, drops, cuts, lies, refuses and asks for patience."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hub_server import Hub, running

from mambatalk.data import download as module
from mambatalk.data.download import download, plan
from mambatalk.data.download_choice import language_folder
from mambatalk.data.download_hub import REVISION, TRIES, connect
from mambatalk.data.download_licence import ACCEPTED, NOTICE
from mambatalk.data.sample import write_sample
from mambatalk.errors import UserError
from mambatalk.files import read_json, sha256_file

COMMAND = Path(sys.executable).with_name("mambatalk")
NO_HOME = Path("/nonexistent/huggingface")
ENGLISH = "beat_english_v2.0.0"
SUFFIXES = {"smplxflame_30": ".npz", "wave16k": ".wav", "textgrid": ".TextGrid", "sem": ".txt"}


def path_of(clip, folder="smplxflame_30", top=ENGLISH):
    return f"{top}/{folder}/{clip}{SUFFIXES[folder]}"


def corpus():
    """Two speakers of English and one of Chinese, of arbitrary bytes: a download looks into no file."""
    chance = random.Random(1)
    clips = [(ENGLISH, f"{speaker}_0_{clip}_{clip}") for speaker in ("2_scott", "4_lawrence") for clip in range(1, 6)]
    clips.append(("beat_chinese_v2.0.0", "12_zhao_2_1_1"))
    files = {path_of(clip, folder, top): chance.randbytes(size) for top, clip in clips
             for folder, size in zip(SUFFIXES, (60_000, 40_000, 9_000, 300), strict=True)}
    for top in dict(clips):
        files |= {f"{top}/train_test_split.csv": b"id,type\n", f"{top}/readme.md": b"BEAT2\n",
                  f"{top}/weights/vocab.pkl": chance.randbytes(200_000)}
    return files


@pytest.fixture
def hub():
    with running(Hub(corpus(), REVISION)) as value:
        yield value


@pytest.fixture
def waits(monkeypatch):
    """Let nobody wait, and say how long the waits of a second or more would have been; shorter ones are for locks."""
    asked = []
    monkeypatch.setattr(time, "sleep", lambda seconds: asked.append(seconds) if seconds >= 1 else None)
    return asked


def fetch(hub, out, *, language="english", speakers=None, revision=REVISION, progress=None):
    api = connect(hub.url)
    wanted = plan(api, language=language, speakers=speakers, revision=revision)
    return download(api, wanted, out, progress=progress)


def on_disk(out):
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def run(hub, *arguments, **options):
    return subprocess.run([COMMAND, "download", *map(str, arguments)], env=environment(hub), text=True, timeout=60,
                          capture_output=True, stdin=subprocess.DEVNULL, check=False, **options)


def environment(hub):
    return {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(NO_HOME)}


def until(condition):
    """Wait for what another thread or process does."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.005)


def test_a_download_holds_what_was_asked_for_and_a_record_of_it(hub, tmp_path):
    progress = []
    there = fetch(hub, tmp_path, speakers=frozenset({2}), progress=lambda *bytes_: progress.append(bytes_))
    wanted = {path: content for path, content in hub.files.items() if path.startswith(ENGLISH)
              and "4_lawrence" not in path and not path.endswith("readme.md")}
    record = read_json(tmp_path / "download.json")
    assert on_disk(tmp_path) == {**wanted, "download.json": (tmp_path / "download.json").read_bytes()}
    assert (record["repository"], record["commit"]) == ("H-Liu1997/BEAT2", REVISION)
    assert {path: (file["size"], file["sha256"]) for path, file in record["files"].items()} == {
        path: (len(content), sha256_file(tmp_path / path)) for path, content in wanted.items()}
    assert all(file.fetched for file in there.values())
    total = sum(map(len, wanted.values()))
    assert progress[-1] == (total, total)
    assert progress == sorted(progress)


def test_a_second_run_adds_and_fetches_nothing_twice(hub, tmp_path):
    fetch(hub, tmp_path, speakers=frozenset({2}))
    first = len(hub.log)
    there = fetch(hub, tmp_path)
    assert {path for path, file in there.items() if file.fetched} == {
        path for path in hub.files if "4_lawrence" in path}
    fetch(hub, tmp_path, language="chinese")
    assert sorted(hub.sent_whole()) == sorted(path for path in hub.files if not path.endswith("readme.md"))
    assert {path.partition("/")[0] for path in read_json(tmp_path / "download.json")["files"]} == {
        ENGLISH, "beat_chinese_v2.0.0"}
    assert first < len(hub.log)


def test_a_file_that_changed_on_disk_is_fetched_again(hub, tmp_path):
    fetch(hub, tmp_path)
    changed = tmp_path / path_of("2_scott_0_1_1", "sem"), tmp_path / path_of("2_scott_0_2_2")
    for path in changed:
        path.write_bytes(bytes(path.stat().st_size))
    (tmp_path / path_of("2_scott_0_3_3")).write_bytes(b"cut")
    there = fetch(hub, tmp_path)
    assert sorted(path for path, file in there.items() if file.fetched) == sorted(
        [path_of("2_scott_0_1_1", "sem"), path_of("2_scott_0_2_2"), path_of("2_scott_0_3_3")])
    assert all((tmp_path / path).read_bytes() == hub.files[path] for path in there)


@pytest.mark.parametrize("faults", [["drop"], ["reset"], ["short"], ["lie"], ["503"], ["lie", "drop", "short", "503"]])
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
    assert [entry["range"] for entry in hub.asked(path) if "range" in entry] == [None, f"bytes={10 * 2**20}-"]


@pytest.mark.parametrize("request_", [f"HEAD {path_of('2_scott_0_1_1')}", f"GET {path_of('2_scott_0_1_1')}", "tree",
                                      path_of("2_scott_0_1_1")])
def test_the_hub_is_left_alone_for_as_long_as_it_asks(hub, tmp_path, waits, request_):
    hub.faults[request_] = ["429", "429"]
    fetch(hub, tmp_path, speakers=frozenset({2}))
    assert hub.faults[request_] == []
    assert (tmp_path / path_of("2_scott_0_1_1")).read_bytes() == hub.files[path_of("2_scott_0_1_1")]
    assert any(3 <= wait < 5 for wait in waits)


@pytest.mark.parametrize(("request_", "fault", "named"), [
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
])
def test_what_cannot_be_mended_is_one_line_and_leaves_no_damaged_file(hub, tmp_path, waits, request_, fault, named):
    hub.faults[request_] = [f"{fault}*"]
    with pytest.raises(UserError, match=named) as caught:
        fetch(hub, tmp_path, speakers=frozenset({2}), revision="main" if request_ == "revision" else REVISION)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    if fault in ("401", "403", "404"):
        assert len([entry for entry in hub.log if entry["status"] == int(fault)]) <= 2
        assert waits == []
    if fault == "lie":
        assert len(hub.asked(request_)) >= TRIES
    assert all(content == hub.files[path] for path, content in on_disk(tmp_path).items() if path.startswith(ENGLISH))


def test_a_hub_that_is_not_there_is_one_line(tmp_path, waits):
    with running(Hub({}, REVISION)) as hub:
        pass
    with pytest.raises(UserError, match="check the network"):
        fetch(hub, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_name_becomes_a_commit_and_the_commit_is_kept(hub, tmp_path):
    fetch(hub, tmp_path, speakers=frozenset({2}), revision="main")
    assert read_json(tmp_path / "download.json")["commit"] == REVISION
    assert plan(connect(hub.url), language="english", speakers=None, revision=REVISION[:7]).commit == REVISION
    with pytest.raises(UserError, match="--revision"):
        plan(connect(hub.url), language="english", speakers=None, revision="deadbeef")
    hub.commit = "a" * 40
    with pytest.raises(UserError, match=r"expected H-Liu1997/BEAT2 at a{40}; take another folder"):
        fetch(hub, tmp_path, revision="main")
    with pytest.raises(UserError, match="404 from the hub"):
        plan(connect(hub.url), language="english", speakers=None, revision=REVISION)


def test_a_hub_that_changes_a_pinned_file_is_found_out(hub, tmp_path):
    fetch(hub, tmp_path, speakers=frozenset({2}))
    hub.files[path_of("2_scott_0_1_1")] = b"other"
    with pytest.raises(UserError, match="recorded with other content"):
        fetch(hub, tmp_path, speakers=frozenset({2}))


@pytest.mark.parametrize("name", ["../evil.npz", "smplxflame_30/../../../evil.npz", "wave16k//etc/evil.wav",
                                  "weights/..\\evil.bin", "weights/a\nb.bin", "weights/./evil.bin"])
def test_a_name_that_would_leave_its_folder_is_refused(hub, tmp_path, name):
    hub.files[f"{ENGLISH}/{name}"] = b"evil"
    with pytest.raises(UserError, match="stay inside their folder"):
        fetch(hub, tmp_path / "out")
    assert list(tmp_path.rglob("*evil*")) == []


def test_names_that_are_no_clips_are_left_out(hub, tmp_path):
    strange = ["smplxflame_30/2_scott_0_1.npz", "smplxflame_30/2_scott_0_1_1.pkl", "weights/.hidden",
               "other/2_scott.npz", "smplxflame_30/deep/2_scott_0_1_1.npz"]
    hub.files |= {f"{ENGLISH}/{name}": b"x" for name in strange}
    wanted = plan(connect(hub.url), language="english", speakers=None, revision=REVISION)
    assert wanted.left_out == len(strange) + 1
    assert {file.path for file in wanted.files} == {
        path for path in corpus() if path.startswith(ENGLISH) and not path.endswith("readme.md")}


def test_a_disk_that_is_too_small_is_told_before_anything_comes(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10**6}))
    with pytest.raises(UserError, match=r"found 0\.00 GB free; expected 0\.07 GB"):
        fetch(hub, tmp_path)
    assert hub.sent_whole() == []


def test_two_downloads_do_not_share_a_folder(hub, tmp_path):
    hub.gate = threading.Semaphore(0)
    first = threading.Thread(target=fetch, args=(hub, tmp_path))
    first.start()
    until(lambda: list((tmp_path / ".download").rglob("*.incomplete")))
    try:
        with pytest.raises(UserError, match="another download into this folder"):
            fetch(hub, tmp_path)
    finally:
        hub.gate.release(1000)
        first.join()
    assert not (tmp_path / ".download").exists()


def test_a_killed_download_goes_on_and_fetches_nothing_that_was_whole(hub, tmp_path):
    def whole():
        return {path for path in on_disk(tmp_path) if path.startswith(ENGLISH)}

    gate = hub.gate = threading.Semaphore(15)
    arguments = [COMMAND, "download", tmp_path, "--accept-licence"]
    with subprocess.Popen(arguments, env=environment(hub), stderr=subprocess.DEVNULL) as process:
        until(lambda: (len(whole()), hub.half_sent()) == (15, 8))
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    kept = whole()
    assert all((tmp_path / path).read_bytes() == hub.files[path] for path in kept)
    wanted = {path for path in hub.files if path.startswith(ENGLISH) and not path.endswith("readme.md")}
    assert kept < wanted
    assert len(kept) == 15
    hub.gate, first = None, list(hub.log)
    gate.release(1000)
    done = run(hub, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    asked = {entry["path"] for entry in hub.log[len(first):] if entry["path"] in wanted}
    assert asked & kept == set()
    assert asked <= wanted - kept
    assert whole() == wanted
    assert all((tmp_path / path).read_bytes() == hub.files[path] for path in wanted)
    assert {path.name for path in tmp_path.iterdir()} == {ENGLISH, "download.json", ACCEPTED}
    assert not NO_HOME.exists()


def test_a_downloaded_corpus_is_one_that_check_accepts(tmp_path):
    pytest.importorskip("espeakng_loader", reason="eSpeak NG speaks the sample: pip install 'mambatalk[sample]'")
    write_sample(tmp_path / "sample", hours=0.02, speakers=3, seed=3)
    files = {f"{ENGLISH}/{path}": content for path, content in on_disk(tmp_path / "sample").items()}
    with running(Hub(files, REVISION)) as hub:
        fetch(hub, tmp_path / "out", speakers=frozenset({1, 3}))
    root = tmp_path / "out" / ENGLISH
    done = subprocess.run([COMMAND, "check", root, "--speakers", "1,3", "--workers", "1"], text=True, timeout=60,
                          capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "8 clips: 8 accepted" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_waits_for_nobody(hub, tmp_path, number):
    hub.gate = threading.Semaphore(0)
    with subprocess.Popen([COMMAND, "download", tmp_path, "--accept-licence"], env=environment(hub), text=True,
                          stderr=subprocess.PIPE) as process:
        until(lambda: hub.half_sent() == 8)
        process.send_signal(number)
        # huggingface_hub waits ten seconds for a body that stands still.
        assert process.wait(timeout=5) == 128 + number
        assert process.stderr.read() == f"{NOTICE}\nmambatalk: stopped; the same command goes on from here\n"


def test_the_terms_are_told_once_and_their_acceptance_is_kept(hub, tmp_path):
    done = run(hub, tmp_path / "out", "--speakers", 2)
    assert done.returncode == 2
    assert done.stderr.startswith(NOTICE)
    assert done.stderr.removeprefix(NOTICE).strip().count("\n") == 0
    assert "--accept-licence" in done.stderr
    assert not (tmp_path / "out").exists()
    assert hub.log == []
    done = run(hub, tmp_path / "out", "--speakers", 2, "--accept-licence")
    assert (done.returncode, done.stderr) == (0, NOTICE + "\n")
    assert NOTICE in (tmp_path / "out" / ACCEPTED).read_text()
    done = run(hub, tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_dry_run_counts_and_writes_nothing(hub, tmp_path):
    done = run(hub, tmp_path / "out", "--speakers", "2,4", "--dry-run")
    total = sum(len(content) for path, content in hub.files.items()
                if path.startswith(ENGLISH) and not path.endswith("readme.md"))
    assert (done.returncode, done.stderr) == (0, "")
    assert f"42 files, {total / 1e6:.1f} MB: {ENGLISH} at commit {REVISION}" in done.stdout
    assert [line.split()[1:6:2] for line in done.stdout.splitlines() if "wave" in line] == [["wave", "10", "400.0"]]
    assert list(tmp_path.iterdir()) == []
    assert hub.sent_whole() == []


@pytest.mark.parametrize(("arguments", "named"), [
    (("out", "--speakers", "two"), "numbers between commas"),
    (("out", "--speakers", "2,99", "--accept-licence"), "--speakers: found 99; expected some of 2, 4"),
    (("taken", "--accept-licence"), "expected a folder to write to"),
])
def test_a_mistake_is_one_line_and_code_2(hub, tmp_path, arguments, named):
    (tmp_path / "taken").touch()
    done = run(hub, *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert named in done.stderr.removeprefix(NOTICE)
    assert done.stderr.removeprefix(NOTICE).strip().count("\n") == 0


def test_a_language_that_the_data_set_lacks_is_told():
    with pytest.raises(UserError, match="one of english, chinese, spanish, japanese"):
        language_folder("klingon")


def test_the_pin_is_the_commit_that_holds_the_data():
    assert len(REVISION) == 40
    assert REVISION.startswith("8689ecb")


def test_a_record_is_the_same_whatever_order_files_came_in(hub, tmp_path):
    fetch(hub, tmp_path / "one")
    fetch(hub, tmp_path / "two", speakers=frozenset({4}))
    fetch(hub, tmp_path / "two")
    one, two = ((tmp_path / name / "download.json").read_text() for name in ("one", "two"))
    assert one == two
    assert json.loads(one)["files"]
