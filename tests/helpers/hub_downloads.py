"""Downloads from the hub on loopback, and the files they write."""

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

from mambatalk.console import Progress
from mambatalk.download.files import LocalFile
from mambatalk.download.hub import REVISION, connect
from mambatalk.download.transfer import download, plan_download
from tests.helpers.hub_server import Hub

ENGLISH = "beat_english_v2.0.0"
SUFFIXES = {"smplxflame_30": ".npz", "wave16k": ".wav", "textgrid": ".TextGrid", "sem": ".txt"}


def path_of(clip: str, folder: str = "smplxflame_30", top: str = ENGLISH) -> str:
    """Return the path of a clip's file in the repository."""
    return f"{top}/{folder}/{clip}{SUFFIXES[folder]}"


def corpus() -> dict[str, bytes]:
    """Return files of two English speakers and a Chinese one, with random content."""
    chance = random.Random(1)
    clips = [
        (ENGLISH, f"{speaker}_0_{clip}_{clip}")
        for speaker in ("2_scott", "4_lawrence")
        for clip in range(1, 6)
    ]
    clips.append(("beat_chinese_v2.0.0", "12_zhao_2_1_1"))
    files = {
        path_of(clip, folder, top): chance.randbytes(size)
        for top, clip in clips
        for folder, size in zip(SUFFIXES, (60_000, 40_000, 9_000, 300), strict=True)
    }
    for top in dict(clips):
        files |= {
            f"{top}/train_test_split.csv": b"id,type\n",
            f"{top}/readme.md": b"BEAT2\n",
            f"{top}/weights/vocab.pkl": chance.randbytes(200_000),
        }
    return files


def layout_files(hub: Hub) -> set[str]:
    """Return the paths of all English files that belong to the layout."""
    return {
        path for path in hub.files if path.startswith(ENGLISH) and not path.endswith("readme.md")
    }


def fetch(
    hub: Hub,
    out: Path,
    *,
    language: str = "english",
    speakers: frozenset[int] | None = None,
    revision: str = REVISION,
    progress: Progress | None = None,
) -> dict[str, LocalFile]:
    """Download from the hub into a folder."""
    api = connect(hub.url)
    plan = plan_download(api, language=language, speakers=speakers, revision=revision)
    return download(api, plan, out, progress=progress)


def on_disk(out: Path) -> dict[str, bytes]:
    """Return the content of every file in a folder, by relative path."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file()
    }


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until another thread or process has made a condition true."""
    # A busy machine that measures coverage needs half a minute to start a command's workers.
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.005)
