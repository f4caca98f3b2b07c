"""Wheel and sdist are built, and each works in an environment that has nothing else.

Run with `make package`: packages are installed, which needs an index and a minute.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.helpers.built_checkout import write_checkout
from tests.helpers.mlflow_server import mlflow_server

ROOT = Path(__file__).parents[2]
TAG = "v9.8.7"
"""Tag of the sources that are built here."""

pytestmark = pytest.mark.packaging


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist of what git tracks, at a tag of its own."""
    folder = tmp_path_factory.mktemp("distributions")
    source = folder / "source"
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split("\0")
    for name in filter(None, tracked):
        if (ROOT / name).is_file():
            target = source / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    author = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    for command in (["init"], ["add", "."], [*author, "commit", "-m", "All"], ["tag", TAG]):
        subprocess.run(["git", "-C", source, *command], check=True, capture_output=True)
    subprocess.run(["uv", "build", "--quiet", "--out-dir", folder / "dist", source], check=True)
    return folder / "dist"


def test_the_wheel_has_the_library_and_its_files_and_nothing_else(distributions: Path) -> None:
    (wheel,) = distributions.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"mambatalk"}
    files = {
        "mambatalk/py.typed",
        "mambatalk/serving/static/swagger-ui-bundle.js",
        "mambatalk/serving/static/swagger-ui.LICENSE.txt",
        "mambatalk/viewer/static/three.js",
        "mambatalk/quality/pages/page.html",
    }
    assert files <= set(names)


def test_the_sdist_can_be_built_from(distributions: Path) -> None:
    (sdist,) = distributions.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "mambatalk/__init__.py"} <= names


@pytest.fixture
def clean_python(distributions: Path, tmp_path: Path) -> Path:
    """The interpreter of a new environment with the wheel and nothing else."""
    (wheel,) = distributions.glob("*.whl")
    venv = tmp_path / "venv"
    subprocess.run(["uv", "venv", "--quiet", "--python", sys.executable, venv], check=True)
    install(venv / "bin" / "python", str(wheel))
    return venv / "bin" / "python"


def install(python: Path, package: str) -> None:
    command = [
        "uv",
        "pip",
        "install",
        "--quiet",
        "--python",
        python,
        "-c",
        ROOT / "constraints.txt",
    ]
    subprocess.run([*command, package], check=True, env=clean_environment())


def clean_environment() -> dict[str, str]:
    redirected = ("PYTHON", "VIRTUAL_ENV", "MLFLOW_", "MAMBATALK_")
    return {key: value for key, value in os.environ.items() if not key.startswith(redirected)}


def run(folder: Path, *command: str | Path, **variables: str) -> str:
    """Run a command that must succeed; return what it printed."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=clean_environment() | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_runs_in_a_clean_environment(clean_python: Path, tmp_path: Path) -> None:
    command = clean_python.with_name("mambatalk")
    run(tmp_path, command, "--version")
    run(tmp_path, command, "generate", "--help")
    use = "import mambatalk; print(mambatalk.Synthesizer, mambatalk.read_audio)"
    run(tmp_path, clean_python, "-c", use)


LOAD = """
import mlflow.pyfunc, numpy
model = mlflow.pyfunc.load_model("models:/mambatalk@champion")
waveform = numpy.load("speech.npy")
motion = model.predict({"waveform": waveform, "speaker_id": numpy.array([2])})
numpy.savez("motion.npz", **motion)
"""


def test_a_champion_runs_where_only_the_wheel_and_mlflow_are(
    clean_python: Path, tmp_path: Path
) -> None:
    """Registered by this environment on a server, loaded in another one from there."""
    install(clean_python, "mlflow")
    listed = subprocess.run(
        ["uv", "pip", "list", "--python", clean_python], capture_output=True, text=True, check=True
    )
    assert not {"prefect", "dvc", "great-expectations"} & set(listed.stdout.split())
    checkout = write_checkout(tmp_path / "checkout")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    speech = np.random.default_rng(0).normal(0, 0.1, 32_000).astype(np.float32)
    np.save(elsewhere / "speech.npy", speech)
    soundfile.write(elsewhere / "speech.wav", speech, 16_000, "FLOAT")
    with mlflow_server(tmp_path) as server:
        tracking = {"MLFLOW_TRACKING_URI": server.uri}
        promote = "from tasks.registry.aliases import promote_version as promote; "
        promote += "from tasks.registry.store import open_registry; "
        promote += "promote(open_registry(), '1', why='test')"
        run(ROOT, sys.executable, "-m", "tasks.registry", "--root", checkout, **tracking)
        run(ROOT, sys.executable, "-c", promote, **tracking)
        shutil.rmtree(checkout)

        run(elsewhere, clean_python, "-c", LOAD, **tracking)
        command = clean_python.with_name("mambatalk")
        options = ("--model", "models:/mambatalk@champion", "--speaker", "2", "--out", "made")
        run(elsewhere, command, "generate", "speech.wav", *options, **tracking)
    with np.load(elsewhere / "motion.npz") as by_mlflow:
        assert by_mlflow["poses"].shape == (60, 165)
        with np.load(elsewhere / "made/speech.npz") as made:
            np.testing.assert_array_equal(made["poses"], by_mlflow["poses"])


def test_the_sdist_installs_as_an_application(distributions: Path, tmp_path: Path) -> None:
    """As pipx does: an environment of its own, and the command in a folder of commands."""
    (sdist,) = distributions.glob("*.tar.gz")
    folders = {"UV_TOOL_DIR": str(tmp_path / "tools"), "UV_TOOL_BIN_DIR": str(tmp_path / "bin")}
    command = ["uv", "tool", "install", "--quiet", "--python", sys.executable]
    run(tmp_path, *command, "-c", ROOT / "constraints.txt", sdist, **folders)
    version = run(tmp_path, tmp_path / "bin" / "mambatalk", "--version", **folders)
    assert TAG.removeprefix("v") in version


def test_the_version_is_that_of_the_tag(distributions: Path) -> None:
    names = sorted(path.name for path in distributions.iterdir() if path.suffix in (".whl", ".gz"))
    assert names == ["mambatalk-9.8.7-py3-none-any.whl", "mambatalk-9.8.7.tar.gz"]
