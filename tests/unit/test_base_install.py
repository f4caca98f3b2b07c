"""`pip install mambatalk` without extras turns speech into motion: npz file and video included."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import av
import pytest

from mambatalk.motion.clip import SmplxMotion
from tests.helpers.stand_in_body import stand_in_file
from tests.helpers.tiny_bundle import tiny_bundle

ROOT = Path(__file__).parents[2]

# Hides every installed package that the base install would not bring.
SCRIPT = """
import sys
from importlib.machinery import PathFinder
from importlib.metadata import packages_distributions

allowed = set(sys.argv[1].split(","))
hidden = {
    module
    for module, distributions in packages_distributions().items()
    if not allowed & {name.lower().replace("_", "-").replace(".", "-") for name in distributions}
} - {"mambatalk"}

class Filter(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] in hidden else PathFinder.find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Filter

import numpy as np
from mambatalk import Bundle, SmplxMotion, Speech, Synthesizer
from mambatalk.motion.body import load_body
from mambatalk.rendering.comparison import render_video
from mambatalk.cli import app

bundle, body, out = sys.argv[2:]
waveform = np.random.default_rng(0).normal(0, 0.1, 16000 * 3).astype(np.float32)
motion = Synthesizer(Bundle.load(bundle)).generate(Speech(waveform=waveform, speaker_id=30))
motion.write(out + ".npz")
render_video(
    out + ".mp4",
    generated=motion,
    truth=SmplxMotion.read(out + ".npz"),
    body=load_body(body),
    waveform=waveform,
    seconds=0.5,
    height=80,
)

import soundfile

soundfile.write(out + ".wav", waveform, 16000)
arguments = ["--out", out, "--bundle", bundle, "--format", "npz,bvh,glb,vrma"]
app(["generate", out + ".wav", *arguments], standalone_mode=False)
"""


def normalise(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def base_install() -> set[str]:
    """The base dependencies and, through others, everything they require without an extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    waiting = list(project["dependencies"])
    found: set[str] = set()
    while waiting:
        requirement = waiting.pop()
        name = normalise(re.split(r"[^\w.-]", requirement)[0])
        if name in found or "extra ==" in requirement:
            continue
        found.add(name)
        try:
            waiting += requires(name) or []
        except PackageNotFoundError:  # For another platform or Python version.
            continue
    return found


@pytest.mark.slow
def test_speech_becomes_motion_and_video_with_the_base_install(tmp_path: Path) -> None:
    tiny_bundle().save(tmp_path / "bundle")
    allowed = ",".join(base_install())
    arguments = [str(tmp_path / "bundle"), str(stand_in_file()), str(tmp_path / "result")]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, allowed, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    motion = SmplxMotion.read(tmp_path / "result.npz")
    assert motion.poses.shape == (90, 165)
    with av.open(tmp_path / "result.mp4") as video:
        assert video.streams.video[0].frames == 15
        assert len(video.streams.audio) == 1
    written = {path.suffix for path in (tmp_path / "result").iterdir()}
    assert written == {".npz", ".bvh", ".glb", ".vrma", ".json"}
