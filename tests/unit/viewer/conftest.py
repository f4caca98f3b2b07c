"""A folder of results to view, and a server that shows it."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile

from mambatalk.viewer.clips import ViewedClip, find_clips
from mambatalk.viewer.server import open_server
from tests.helpers.motions import smooth_motion
from tests.helpers.speech import noise
from tests.helpers.stand_in_body import stand_in_body

SECONDS = 6
TEXTGRID = """File type = "ooTextFile"
Object class = "TextGrid"
0 6 <exists> 1
"IntervalTier" "words" 0 6 3
0 1 "<b>hello</b>"
1 2 ""
2 6 "world"
"""


@pytest.fixture(scope="package")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two results, the second of which has neither audio nor words."""
    folder = tmp_path_factory.mktemp("results")
    for seed, name in enumerate(("first", "second")):
        smooth_motion(seed, 30 * SECONDS).write(folder / f"{name}.npz")
    soundfile.write(folder / "first.ogg", noise(SECONDS), 16_000)
    (folder / "first.TextGrid").write_text(TEXTGRID)
    return folder


@pytest.fixture(scope="package")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("truth")
    for seed, name in enumerate(("first", "second"), start=8):
        smooth_motion(seed, 30 * SECONDS).write(folder / f"{name}.npz")
    return folder


@pytest.fixture(scope="package")
def clips(results: Path, truth: Path) -> list[ViewedClip]:
    return find_clips(results, truth, stand_in_body)


@pytest.fixture(scope="package")
def address(clips: list[ViewedClip]) -> Iterator[str]:
    with open_server(clips, 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
