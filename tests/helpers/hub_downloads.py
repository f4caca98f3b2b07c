"""Downloads from the hub on loopback, and what they leave on disk."""

import random
import threading
import time

from mambatalk.download.hub import REVISION, connect
from mambatalk.download.transfer import download, plan
from tests.helpers.hub_server import Hub

ENGLISH = "beat_english_v2.0.0"
SUFFIXES = {"smplxflame_30": ".npz", "wave16k": ".wav", "textgrid": ".TextGrid", "sem": ".txt"}


def path_of(clip, folder="smplxflame_30", top=ENGLISH):
    return f"{top}/{folder}/{clip}{SUFFIXES[folder]}"


def corpus():
    """Two speakers of English and one of Chinese, of arbitrary bytes: a download looks into no
    file.
    """
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


def wanted_of(hub: Hub) -> set[str]:
    """Every file of English that is part of the layout."""
    return {
        path for path in hub.files if path.startswith(ENGLISH) and not path.endswith("readme.md")
    }


def fetch(hub, out, *, language="english", speakers=None, revision=REVISION, progress=None):
    api = connect(hub.url)
    wanted = plan(api, language=language, speakers=speakers, revision=revision)
    return download(api, wanted, out, progress=progress)


def on_disk(out):
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file()
    }


def until(condition):
    """Wait for what another thread or process does."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.005)
