"""`mambatalk generate`: recordings in, files of motion out; bad input in one line."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner, Result

from mambatalk.cli import app
from mambatalk.errors import InputError
from mambatalk.files import read_json
from mambatalk.motion.clip import SmplxMotion
from tests.helpers.golden_motion import golden_bundle
from tests.helpers.motions import smooth_motion
from tests.helpers.speech import noise
from tests.helpers.stand_in_body import stand_in_file
from tests.helpers.tiny_bundle import SPEAKER_IDS, tiny_bundle

COMMAND = Path(sys.executable).with_name("mambatalk")
TEXTGRID = """File type = "ooTextFile"
Object class = "TextGrid"
0 6 <exists> 1
"IntervalTier" "words" 0 6 4
0 1.33 ""
1.33 2.67 "yes"
2.67 4 ""
4 6 "yes"
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "bundle"
    tiny_bundle().save(folder)
    return folder


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    path = tmp_path / "speech.wav"
    soundfile.write(path, noise(2.5), 16_000)
    return path


def generate(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["generate", *map(str, arguments)])


def failure(*arguments: object) -> str:
    """Return the one line that `main` prints for an error."""
    result = generate(*arguments)
    assert isinstance(result.exception, InputError), result.output
    return str(result.exception)


def test_a_recording_becomes_motion_and_a_file_that_says_how(
    bundle: Path, speech: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = subprocess.run(
        [COMMAND, "generate", speech, "--out", out, "--bundle", bundle],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("speech.wav: 2.5 s of motion in ")
    assert done.stdout.endswith(f"{out}/speech.npz {out}/speech.json\n")
    assert done.stderr == (
        "note: speaker 2; --speaker selects 30\nnote: no TextGrid: motion from the audio alone\n"
    )
    assert len(SmplxMotion.read(out / "speech.npz")) == 75
    sidecar = read_json(out / "speech.json")
    assert sidecar["bundle"] == read_json(bundle / "bundle.json")["digest"]
    assert sidecar["frames"] == 75
    assert {"licence", "options", "versions"} <= set(sidecar)
    assert sidecar["precision"] == "single"


def test_the_precision_can_be_chosen_and_is_recorded(
    bundle: Path, speech: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = generate(speech, "--out", out, "--bundle", bundle, "--precision", "half")
    assert done.exit_code == 0, done.output
    assert read_json(out / "speech.json")["precision"] == "half"


@pytest.mark.parametrize("seconds", [0.04, 1, 2.14, 10.01])
def test_every_frame_of_the_speech_gets_motion(
    bundle: Path, tmp_path: Path, seconds: float
) -> None:
    soundfile.write(tmp_path / "a.flac", noise(seconds), 16_000)
    generate(tmp_path / "a.flac", "--out", tmp_path, "--bundle", bundle)
    motion = SmplxMotion.read(tmp_path / "a.npz")
    assert len(motion) == int(seconds * 16_000) * 30 // 16_000
    assert np.isfinite(motion.poses).all()


@pytest.mark.slow
def test_a_video_has_all_frames_and_the_sound(bundle: Path, speech: Path, tmp_path: Path) -> None:
    result = generate(
        *(speech, "--out", tmp_path, "--bundle", bundle, "--format", "mp4"),
        *("--body", stand_in_file()),
    )
    assert result.exit_code == 0, result.output
    with av.open(tmp_path / "speech.mp4") as video:
        assert video.streams.video[0].frames == 75
        assert video.streams.video[0].height == 720
        assert video.streams.audio[0].duration * video.streams.audio[0].time_base == pytest.approx(
            2.5, abs=0.07
        )


@pytest.mark.slow
def test_a_video_shows_the_recorded_motion_beside_the_generated_one(
    bundle: Path, speech: Path, tmp_path: Path
) -> None:
    smooth_motion(1, frames=20).write(tmp_path / "recorded" / "speech.npz")
    out = tmp_path / "out"
    result = generate(
        *(speech, "--out", out, "--bundle", bundle, "--format", "mp4"),
        *("--side-by-side", tmp_path / "recorded", "--body", stand_in_file()),
    )
    assert result.exit_code == 0, result.output
    assert "speech.npz: the video ends with it at 0.7 s" in result.output
    assert "speech.mp4: drawn by the software renderer of mambatalk, " in result.output
    with av.open(out / "speech.mp4") as video:
        picture = next(video.decode(video=0)).to_ndarray(format="rgb24").astype(int)
        assert video.streams.video[0].frames == 20
    assert picture.shape == (720, 1280, 3)
    blue = picture[..., 2] - picture[..., 0]
    assert (blue[60:600, :436] > 40).sum() > 3000, "the generated figure"
    assert (blue[60:600, 648:1084] < -10).sum() > 3000, "the recorded one"


def test_words_and_a_start_pose_are_used(bundle: Path, tmp_path: Path) -> None:
    speech = tmp_path / "speech.wav"
    soundfile.write(speech, noise(5), 16_000)
    (tmp_path / "speech.TextGrid").write_text(TEXTGRID)
    start = smooth_motion(1, frames=2)
    start.write(tmp_path / "start.npz")
    motions = {}
    for name, options in {
        "plain": (),
        "words": ("--textgrid", tmp_path / "speech.TextGrid"),
        "words of a folder": ("--textgrid", tmp_path),
        "start": ("--start-pose", tmp_path / "start.npz"),
    }.items():
        out = tmp_path / name
        result = generate(speech, "--out", out, "--bundle", bundle, *options)
        assert result.exit_code == 0, result.output
        assert ("audio alone" in result.output) == (not name.startswith("words"))
        motions[name] = SmplxMotion.read(out / "speech.npz")
    np.testing.assert_array_equal(motions["words"].poses, motions["words of a folder"].poses)
    np.testing.assert_allclose(motions["start"].trans[0, [0, 2]], start.trans[0, [0, 2]], atol=1e-6)


def test_a_seed_gives_one_motion(bundle: Path, speech: Path, tmp_path: Path) -> None:
    poses = []
    for seed in (1, 1, 2):
        generate(speech, "--out", tmp_path, "--bundle", bundle, "--seed", seed)
        poses.append(SmplxMotion.read(tmp_path / "speech.npz").poses)
    np.testing.assert_array_equal(poses[0], poses[1])
    assert np.abs(poses[0] - poses[2]).max() > 1e-3
    assert read_json(tmp_path / "speech.json")["options"]["sampling"] == {
        "seed": 2,
        "temperature": 1.0,
        "top_p": 1.0,
    }


def test_published_weights_cover_every_frame_and_say_what_they_need(
    speech: Path, tmp_path: Path
) -> None:
    published = replace(tiny_bundle(), fidelity="published", vocabulary={})
    published.save(tmp_path / "bundle")
    result = generate(speech, "--out", tmp_path, "--bundle", tmp_path / "bundle")
    assert result.exit_code == 0, result.output
    assert "note: published weights" in result.output
    assert len(SmplxMotion.read(tmp_path / "speech.npz")) == 75


def test_feet_of_a_bundle_that_does_not_hold_them_can_be_held_still(
    speech: Path, tmp_path: Path
) -> None:
    held = golden_bundle()
    replace(held, rest_joints=None).save(tmp_path / "sliding")
    held.save(tmp_path / "held")
    motions = {}
    for name, *options in (("sliding",), ("sliding", "--fix-feet"), ("held", "--fix-feet")):
        folder = tmp_path / name
        result = generate(speech, "--out", tmp_path, "--bundle", folder, *options)
        assert result.exit_code == 0, result.output
        assert ("--fix-feet changes nothing" in result.output) == (name == "held")
        motions[name, *options] = SmplxMotion.read(tmp_path / "speech.npz")
    fixed = motions["sliding", "--fix-feet"]
    assert np.abs(fixed.poses - motions["sliding",].poses).max() > 1e-4
    np.testing.assert_allclose(fixed.poses, motions["held", "--fix-feet"].poses, atol=1e-5)


def test_bad_recordings_do_not_stop_the_others(bundle: Path, speech: Path, tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no audio\n" * 99)
    soundfile.write(tmp_path / "silent.wav", np.zeros(16_000), 16_000)
    content = speech.read_bytes()
    (tmp_path / "cut.wav").write_bytes(content[: len(content) // 2])
    recordings = [tmp_path / name for name in ("text.wav", "silent.wav", "cut.wav")]
    result = generate(*recordings, speech, "--out", tmp_path / "out", "--bundle", bundle)
    assert result.exit_code == 2
    assert "mambatalk: " in result.output
    assert "text.wav: expected audio, found a file that cannot be decoded" in result.output
    assert "silent.wav: the recording is silent" in result.output
    assert "cut.wav: the file is truncated; motion ends with the audio at 1.2 s" in result.output
    assert sorted(path.name for path in (tmp_path / "out").glob("*.npz")) == [
        "cut.npz",
        "silent.npz",
        "speech.npz",
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--speaker", 7), "speaker: expected one of 2, 30, found 7"),
        (("--format", "npz,fbx"), "format: expected some of"),
        (("--format", ","), "found none"),
        (("--bundle", "nowhere"), "nowhere: expected the folder of a bundle, found no bundle.json"),
        (("--model", "models:/m@champion"), "expected --bundle or --model, found both"),
        (("--textgrid", "none.TextGrid"), "none.TextGrid: expected a readable file"),
        (("--start-pose", "none.npz"), "none.npz: expected a readable file"),
        (("--side-by-side", "none.npz"), "side-by-side: expected mp4 among the formats, found npz"),
        (("--side-by-side", "none.npz", "--format", "mp4"), "none.npz: expected a readable file"),
        (("--body", "none.npz", "--format", "mp4"), "expected the SMPL-X model"),
        (("--device", "quantum"), "device: expected auto, cpu, or cuda"),
        (("--out", "/proc/nowhere"), "/proc/nowhere: expected a writable folder"),
        (("--seed", 1, "--top-p", 2), "top-p: expected a share in (0, 1], found 2.0"),
    ],
)
def test_bad_options_are_reported_in_one_line(
    bundle: Path, speech: Path, tmp_path: Path, options: tuple[object, ...], message: str
) -> None:
    out = tmp_path / "out"
    reported = failure(speech, "--out", out, "--bundle", bundle, *options)
    assert message in reported
    assert not list(out.glob("*.npz"))


def test_a_damaged_bundle_is_reported(bundle: Path, speech: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(bundle, tmp_path / "broken")
    (broken / "generator.safetensors").write_bytes(b"x")
    message = failure(speech, "--out", tmp_path, "--bundle", broken)
    assert "generator.safetensors: expected sha256" in message


def test_recordings_of_the_same_name_are_refused(bundle: Path, tmp_path: Path) -> None:
    message = failure("a/x.wav", "b/x.mp3", "--out", tmp_path, "--bundle", bundle)
    assert "found 'x' more than once" in message


@pytest.mark.slow
def test_a_registered_model_is_downloaded(bundle: Path, speech: Path, tmp_path: Path) -> None:
    script = f"""
import mlflow
from mambatalk.synthesis.bundle import Bundle
from pathlib import Path
from tasks.tracking import pyfunc_bundle
from tasks.tracking.models import packed_model
folder = Path({str(bundle)!r})
with mlflow.start_run():
    example = pyfunc_bundle.example(Bundle.load(folder))
    model = packed_model("bundle", pyfunc_bundle, folder, example=example)(0)
mlflow.register_model(f"models:/{{model}}", "mambatalk")
mlflow.MlflowClient().set_registered_model_alias("mambatalk", "champion", "1")
"""
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db",
        "PYTHONPATH": str(Path(__file__).parents[3]),
    }
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, check=True)
    arguments = ["generate", speech, "--out", tmp_path, "--model"]
    good, bad = (
        subprocess.run(
            [COMMAND, *arguments, f"models:/mambatalk@{alias}"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        for alias in ("champion", "nobody")
    )
    assert good.returncode == 0, good.stderr
    digest = read_json(bundle / "bundle.json")["digest"]
    assert read_json(tmp_path / "speech.json")["bundle"] == digest
    assert (bad.returncode, bad.stderr.count("\n")) == (2, 1)
    assert "models:/mambatalk@nobody: expected a model in MLflow's registry" in bad.stderr


def test_the_default_speaker_is_the_lowest(bundle: Path, speech: Path, tmp_path: Path) -> None:
    generate(speech, "--out", tmp_path, "--bundle", bundle)
    assert read_json(tmp_path / "speech.json")["options"]["speaker_id"] == min(SPEAKER_IDS)
