"""The viewer's server: what a folder of results becomes, and who may read it."""

import io
import json
from pathlib import Path
from urllib.parse import urlparse

import httpx
import numpy as np
import pytest
import soundfile

from mambatalk.errors import InputError
from mambatalk.files import write_json
from mambatalk.motion.clip import SmplxMotion
from mambatalk.viewer.clips import find_clips
from mambatalk.viewer.server import open_server
from tests.helpers.motions import smooth_motion
from tests.helpers.stand_in_body import stand_in_body


def test_the_page_is_told_what_it_shows(address: str) -> None:
    described = httpx.get(f"{address}/clips.json").json()
    first, second = described["clips"]
    assert first["name"] == "first"
    assert first["seconds"] == 6
    assert first["words"] == [[0, 1, "<b>hello</b>"], [2, 6, "world"]]
    assert len(first["error"]) == 180
    assert min(first["error"]) > 0
    assert second["audio"] is None
    assert second["words"] == []
    assert described["parts"]["jaw"] == "face"
    assert described["parts"]["left_index1"] == "hands"


def test_meshes_and_audio_are_served(address: str) -> None:
    for name in ("generated", "truth"):
        answer = httpx.get(f"{address}/clips/0/{name}.glb", timeout=60)
        assert answer.headers["content-type"] == "model/gltf-binary"
        assert answer.content[:4] == b"glTF"
    samples, rate = soundfile.read(io.BytesIO(httpx.get(f"{address}/clips/0/audio.wav").content))
    assert (len(samples), rate) == (96_000, 16_000)


def test_everything_that_the_page_loads_is_here(address: str) -> None:
    for path in ("/", "/page.js", "/page.css", "/three.js", "/three.LICENSE.txt"):
        answer = httpx.get(address + path)
        assert answer.status_code == 200, path
        assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert "MIT" in httpx.get(f"{address}/three.LICENSE.txt").text


@pytest.mark.parametrize(
    "path", ["/first.npz", "/../first.npz", "/clips/0/../../first.npz", "/clips/7/audio.wav", "/x"]
)
def test_no_other_file_is_served(address: str, path: str) -> None:
    with httpx.Client() as client:
        request = client.build_request("GET", address)
        request.url = request.url.copy_with(raw_path=path.encode())
        assert client.send(request).status_code == 404


def test_a_web_site_cannot_read_the_results(address: str) -> None:
    port = urlparse(address).port
    # Browsers leave out port 80.
    for host, status in (
        (f"evil.example:{port}", 403),
        ("evil.example", 403),
        (f"localhost:{port}", 200),
        ("127.0.0.1", 200),
        ("[::1", 403),
    ):
        answer = httpx.get(f"{address}/clips.json", headers={"Host": host})
        assert answer.status_code == status


def test_audio_that_cannot_be_decoded_is_reported_to_the_page(tmp_path: Path) -> None:
    smooth_motion(0, 10).write(tmp_path / "a.npz")
    (tmp_path / "a.wav").write_text("no audio\n" * 50)
    (clip,) = find_clips(tmp_path, None, stand_in_body)
    with pytest.raises(InputError, match="cannot be decoded"):
        clip.audio_wav()


def test_audio_and_words_are_found_where_generate_had_them(tmp_path: Path) -> None:
    results = tmp_path / "results"
    smooth_motion(0, 10).write(results / "a.npz")
    speech = tmp_path / "elsewhere.flac"
    soundfile.write(speech, np.zeros(9000), 16_000)
    write_json(results / "a.json", {"options": {"speech": str(speech), "textgrid": None}})
    (clip,) = find_clips(results, None, stand_in_body)
    assert clip.audio_file == speech
    assert clip.textgrid is None


def test_the_distance_to_ground_truth_ignores_where_they_stand(tmp_path: Path) -> None:
    motion = smooth_motion(0, 10)
    motion.write(tmp_path / "a.npz")
    moved = SmplxMotion(
        poses=motion.poses, expressions=motion.expressions, trans=motion.trans + np.float32(2)
    )
    moved.write(tmp_path / "truth" / "a.npz")
    (clip,) = find_clips(tmp_path, tmp_path / "truth", stand_in_body)
    assert max(clip.describe("x")["error"]) < 1e-3
    json.dumps(clip.describe("x"), allow_nan=False)


@pytest.mark.parametrize(
    ("folder", "truth", "message"),
    [
        ("nowhere", None, "expected a folder of results"),
        (".", None, "expected npz files of motion, found none"),
        ("results", "nowhere", "expected ground truth, found no such file"),
    ],
)
def test_missing_files_are_reported(
    tmp_path: Path, folder: str, truth: str | None, message: str
) -> None:
    smooth_motion(0, 10).write(tmp_path / "results" / "a.npz")
    with pytest.raises(InputError, match=message):
        find_clips(tmp_path / folder, tmp_path / truth if truth else None, stand_in_body)


def test_a_port_that_is_taken_is_reported(address: str) -> None:
    port = urlparse(address).port
    assert port is not None
    with pytest.raises(InputError, match=f"port {port}: expected a free port"):
        open_server([], port)
