"""The HTTP service over a real socket: answers, limits, and nothing lost under overload."""

import io
import queue
import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
import torch
import uvicorn

from mambatalk.motion.clip import SmplxMotion
from mambatalk.serving.generation import Model
from mambatalk.serving.output import Bodies
from mambatalk.serving.service import Limits, create_app
from mambatalk.synthesis.layout import Speech
from mambatalk.synthesis.synthesizer import Synthesizer
from tests.helpers.chromium import launch, new_page, started_playwright
from tests.helpers.hub_downloads import wait_until
from tests.helpers.speech import noise
from tests.helpers.stand_in_body import stand_in_file
from tests.helpers.tiny_bundle import SPEAKER_IDS, tiny_bundle

TIMEOUT = 120


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("model") / "bundle"
    tiny_bundle().save(folder)
    return Model.load(folder, torch.device("cpu"))


@contextmanager
def running(model: Model, limits: Limits) -> Iterator[httpx.Client]:
    """Run the service and yield a client of it."""
    app = create_app(model, Bodies(path=stand_in_file()), limits)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=TIMEOUT) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def client(model: Model) -> Iterator[httpx.Client]:
    with running(model, Limits(megabytes=1, seconds=20)) as started:
        yield started


def recording(seconds: float, *, seed: int = 0, container: str = "FLAC") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, noise(seconds, seed), 16_000, format=container)
    return file.getvalue()


def read(content: bytes) -> SmplxMotion:
    return SmplxMotion.read(content)


def test_a_recording_becomes_motion(client: httpx.Client, model: Model) -> None:
    content = recording(2)
    answer = client.post("/motion", content=content, params={"speaker": 30})
    assert answer.status_code == 200, answer.text
    waveform, _ = soundfile.read(io.BytesIO(content), dtype="float32")
    expected = model.synthesizer.generate(Speech(waveform=waveform, speaker_id=30))
    np.testing.assert_array_equal(read(answer.content).poses, expected.poses)


@pytest.mark.parametrize(
    ("form", "start"), [("bvh", b"HIERARCHY"), ("glb", b"glTF"), ("vrma", b"glTF")]
)
def test_other_formats_are_answered(client: httpx.Client, form: str, start: bytes) -> None:
    answer = client.post("/motion", content=recording(0.5), params={"format": form})
    assert answer.status_code == 200, answer.text
    assert answer.content.startswith(start)


def test_a_video_is_answered(client: httpx.Client) -> None:
    answer = client.post("/motion", content=recording(0.2), params={"format": "mp4"})
    assert answer.headers["content-type"] == "video/mp4"
    assert b"ftyp" in answer.content[:16]


@pytest.mark.parametrize(
    ("content", "params", "status", "message"),
    [
        (b"", {}, 400, "found an empty file"),
        (b"text\n" * 99, {}, 400, "the recording: expected audio, found a file that cannot be"),
        (recording(0.01), {}, 400, "expected audio for at least 1 frames"),
        (recording(21), {}, 400, "expected at most 0.333333 minutes, found more"),
        (bytes(2**20 + 1), {}, 413, "expected at most 1 MB"),
        (recording(1), {"speaker": 5}, 400, "speaker: expected one of [2, 30], found 5"),
        (recording(1), {"format": "fbx"}, 422, "Input should be 'npz'"),
    ],
)
def test_bad_requests_are_answered_with_the_reason(
    client: httpx.Client, content: bytes, params: dict[str, object], status: int, message: str
) -> None:
    answer = client.post("/motion", content=content, params=params)
    assert (answer.status_code, message in answer.text) == (status, True), answer.text


def test_the_service_describes_itself(client: httpx.Client, model: Model) -> None:
    description = client.get("/").json()
    assert description["bundle"] == model.digest
    assert description["speakers"] == sorted(SPEAKER_IDS)
    assert "/motion" in client.get("/openapi.json").json()["paths"]


def test_the_page_of_requests_loads_nothing_from_other_places(client: httpx.Client) -> None:
    page = client.get("/docs")
    assert "://" not in page.text
    assert "default-src 'self'" in page.headers["content-security-policy"]
    loaded = re.findall(r'(?:href|src)="(static/[^"]+)"', page.text)
    assert len(loaded) == 2
    for address in loaded:
        assert client.get(f"/{address}").status_code == 200
    assert client.get("/redoc").status_code == 404


@pytest.mark.slow
def test_a_browser_draws_the_page_of_requests(client: httpx.Client) -> None:
    requested: list[str] = []
    with started_playwright() as playwright, launch(playwright) as chromium:
        page = new_page(chromium)
        page.on("request", lambda request: requested.append(request.url))
        page.goto(f"{client.base_url}/docs")
        page.locator(".opblock-post .opblock-summary-control").click()
        page.get_by_text("Generate the motion of a recording.").wait_for()
        page.get_by_role("button", name="Try it out").click()
        audio = {"name": "speech.flac", "mimeType": "audio/flac", "buffer": recording(0.5)}
        page.locator("input[type=file]").set_input_files(audio)
        page.get_by_role("button", name="Execute").click()
        page.get_by_text("Download file").wait_for()
    here = f"{client.base_url}/"
    assert [address for address in requested if not address.startswith((here, "data:"))] == []


def test_a_web_site_cannot_call_under_its_own_name(client: httpx.Client) -> None:
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 400


def test_requests_at_the_same_time_get_their_own_motion(client: httpx.Client, model: Model) -> None:
    contents = [recording(1 + seed / 3, seed=seed) for seed in range(10)]
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda content: client.post("/motion", content=content), contents))
    for content, answer in zip(contents, answers, strict=True):
        waveform, _ = soundfile.read(io.BytesIO(content), dtype="float32")
        alone = model.synthesizer.generate(Speech(waveform=waveform, speaker_id=SPEAKER_IDS[0]))
        np.testing.assert_allclose(read(answer.content).poses, alone.poses, atol=1e-4)


def test_more_requests_than_the_limit_are_refused_and_none_is_lost(model: Model) -> None:
    content = recording(1)
    gates: queue.Queue[threading.Event] = queue.Queue()

    def slowly() -> Iterator[bytes]:
        """Send the first half, and the second when the gate opens."""
        gate = threading.Event()
        yield content[: len(content) // 2]
        gates.put(gate)
        gate.wait(TIMEOUT)
        yield content[len(content) // 2 :]

    with running(model, Limits(waiting=3)) as client, ThreadPoolExecutor(3) as pool:
        slow = [pool.submit(client.post, "/motion", content=slowly()) for _ in range(3)]
        opened = [gates.get(timeout=TIMEOUT) for _ in range(3)]
        # The service has accepted all three when it refuses a fourth.
        deadline = time.monotonic() + TIMEOUT
        refused = client.post("/motion", content=content)
        while refused.status_code == 200 and time.monotonic() < deadline:
            refused = client.post("/motion", content=content)
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) > 0
        for gate in opened:
            gate.set()
        assert [answer.result().status_code for answer in slow] == [200] * 3
        assert client.post("/motion", content=content).status_code == 200


def test_twice_the_load_it_can_carry_gets_answers_only(model: Model) -> None:
    content = recording(1)
    with running(model, Limits(waiting=8)) as client, ThreadPoolExecutor(16) as pool:
        statuses = list(
            pool.map(lambda _: client.post("/motion", content=content).status_code, range(64))
        )
        assert set(statuses) <= {200, 429}
        assert statuses.count(200) >= 8
        assert client.post("/motion", content=content).status_code == 200


def test_the_service_goes_on_after_a_batch_that_failed(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate = model.synthesizer.generate_batch
    failures = [RuntimeError("out of memory")]

    def fail_once(speeches: list[Speech]) -> list[SmplxMotion]:
        if failures:
            raise failures.pop()
        return generate(speeches)

    monkeypatch.setattr(model.synthesizer, "generate_batch", fail_once)
    # uvicorn closes the connection after an error.
    request: dict[str, Any] = {"content": recording(1), "headers": {"Connection": "close"}}
    with running(model, Limits()) as client:
        statuses = [client.post("/motion", **request).status_code for _ in range(2)]
    assert statuses == [500, 200]


def test_a_request_that_takes_too_long_is_ended(model: Model) -> None:
    with running(model, Limits(timeout=0.3)) as client:
        address = (client.base_url.host, client.base_url.port or 0)
        with socket.create_connection(address, timeout=TIMEOUT) as connection:
            # A body of which most never comes.
            connection.sendall(
                b"POST /motion HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 999\r\n\r\nRIFF"
            )
            assert connection.recv(64).startswith(b"HTTP/1.1 504 ")
        assert client.get("/").status_code == 200


def test_the_mlflow_model_gives_the_same_bits(tmp_path: Path) -> None:
    import mlflow

    from tasks.tracking import pyfunc_bundle
    from tasks.tracking.models import packed_model

    bundle = tiny_bundle()
    bundle.save(tmp_path / "bundle")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    mlflow.set_experiment(
        experiment_id=mlflow.create_experiment("test", artifact_location=str(tmp_path / "files"))
    )
    with mlflow.start_run():
        example = pyfunc_bundle.example(bundle)
        name = packed_model("bundle", pyfunc_bundle, tmp_path / "bundle", example=example)(0)
    model = mlflow.pyfunc.load_model(f"models:/{name}")
    waveform = noise(5)
    predicted = model.predict({"waveform": waveform, "speaker_id": np.array([30])})
    generated = Synthesizer(bundle).generate(Speech(waveform=waveform, speaker_id=30))
    for array in ("poses", "expressions", "trans"):
        np.testing.assert_array_equal(predicted[array], getattr(generated, array))
