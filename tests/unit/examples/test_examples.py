"""Every program and notebook of `examples/` runs, with a tiny bundle in place of a trained one."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fastapi import WebSocketDisconnect
from fastapi.testclient import TestClient

from mambatalk.motion.skeleton import SAMPLE_RATE
from mambatalk.synthesis.bundle import Bundle
from mambatalk.synthesis.layout import Pace
from mambatalk.synthesis.synthesizer import Synthesizer
from tests.helpers.motions import smooth_motion
from tests.helpers.speech import noise
from tests.helpers.tiny_bundle import tiny_bundle

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: a bundle, a recording, and a result with its truth."""
    tiny_bundle().save(tmp_path / "bundle")
    soundfile.write(tmp_path / "speech.wav", noise(4.0), SAMPLE_RATE)
    for seed, folder in enumerate(("results", "data/sample/corpus/smplxflame_30")):
        (tmp_path / folder).mkdir(parents=True)
        smooth_motion(seed, 120).write(tmp_path / folder / "1_ada_0_1_1.npz")
    (tmp_path / "audio").mkdir()
    soundfile.write(tmp_path / "audio" / "1_ada_0_1_1.wav", noise(4.0), SAMPLE_RATE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, name: str, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    runpy.run_path(str(EXAMPLES / name))


def test_every_example_is_listed_and_tested() -> None:
    names = {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".ipynb")}
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    tested = Path(__file__).read_text(encoding="utf-8")
    assert [name for name in names if f"]({name})" not in listed or f'"{name}"' not in tested] == []


def test_wav_to_glb_writes_a_glb(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, "wav_to_glb.py", "speech.wav", "speech.glb")
    assert (checkout / "speech.glb").read_bytes().startswith(b"glTF")


@pytest.mark.usefixtures("checkout")
def test_score_results_prints_the_metrics_of_the_field(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "score_results.py", "results", "data/sample/corpus/smplxflame_30", "audio")
    printed = capsys.readouterr().out
    assert "Diversity (m)" in printed
    assert "LVD (1e-5 m)" in printed


@pytest.mark.usefixtures("checkout")
def test_stream_microphone_shows_motion_before_the_audio_ends(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "stream_microphone.py", "speech.wav")
    printed = capsys.readouterr().out
    assert printed.index("motion up to") < printed.index("heard 4.0 s")
    assert printed.strip().endswith("motion up to 4.0 s")


@pytest.mark.usefixtures("checkout")
def test_stream_page_answers_audio_with_frames() -> None:
    example = runpy.run_path(str(EXAMPLES / "stream_page.py"))
    synthesizer = Synthesizer(Bundle.load("bundle"), pace=Pace(hop=8, look_ahead=8))
    with TestClient(example["create_app"](synthesizer, "speech.wav"), "http://127.0.0.1") as client:
        assert "three.js" in client.get("/").text
        assert client.get("/figure.glb").content.startswith(b"glTF")
        assert 0.5 < client.get("/delay").json() < 1.5
        frames = 0
        with client.websocket_connect(
            "ws://127.0.0.1/motion", headers={"origin": "http://127.0.0.1"}
        ) as socket:
            for chunk in np.split(noise(2.0), 20):
                socket.send_bytes(chunk.tobytes())
            socket.send_bytes(b"")
            while frames < 60:
                frames += len(np.frombuffer(socket.receive_bytes(), "<f4").reshape(-1, 4 * 55 + 3))
        assert frames == 60
        with (
            pytest.raises(WebSocketDisconnect),
            client.websocket_connect(
                "ws://127.0.0.1/motion", headers={"origin": "http://example.com"}
            ),
        ):
            pass


@pytest.mark.slow
def test_train_ten_minutes_trains_on_less(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "train_ten_minutes.py", str(tmp_path / "work"), "0.03")
    assert "loss" in capsys.readouterr().out
    assert list((tmp_path / "work" / "face").glob("*.safetensors"))


@pytest.mark.slow
def test_query_lineage_finds_the_origin_of_a_build(tmp_path: Path) -> None:
    # In a process of its own, because MLflow keeps its address for the whole process.
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    environment = {**os.environ, "MLFLOW_TRACKING_URI": store, "PYTHONPATH": str(ROOT)}
    record = (
        "import mlflow; mlflow.set_experiment('mambatalk')\n"
        "with mlflow.start_run(run_name='pipeline today'):\n"
        "    mlflow.set_tags({'stage': 'pipeline', 'git_commit': 'abc123', 'run.evaluate': 'r'})\n"
        "    mlflow.log_metric('fgd', 1.5)\n"
    )
    program = EXAMPLES / "query_lineage.py"
    code = f"{record}import runpy; runpy.run_path({str(program)!r})"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "pipeline today" in done.stdout
    assert "abc123" in done.stdout


@pytest.mark.parametrize("folder", [".", "examples"])
def test_the_notebook_runs_from_top_to_bottom(
    checkout: Path, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MPLBACKEND", "Agg")
    (checkout / folder).mkdir(exist_ok=True)
    monkeypatch.chdir(checkout / folder)
    notebook = json.loads((EXAMPLES / "look_at_motion.ipynb").read_text(encoding="utf-8"))
    names: dict[str, object] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    generated = names["generated"]
    assert isinstance(generated, list)
    assert np.isfinite(list(generated[0].values())).all()
