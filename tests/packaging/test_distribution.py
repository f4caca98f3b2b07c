"""Wheel and sdist are built, and each works in an environment that has nothing else.

Run with `make package`: packages are installed, which needs an index and a minute.
"""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

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


def test_the_wheel_runs_in_a_clean_environment(distributions: Path, tmp_path: Path) -> None:
    (wheel,) = distributions.glob("*.whl")
    environment = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("PYTHON", "VIRTUAL_ENV"))
    }
    venv = tmp_path / "venv"
    subprocess.run(["uv", "venv", "--quiet", "--python", sys.executable, venv], check=True)
    python = venv / "bin" / "python"
    constraints = ROOT / "constraints.txt"
    subprocess.run(
        ["uv", "pip", "install", "--quiet", "--python", python, "-c", constraints, wheel],
        check=True,
        env=environment,
    )
    for command in (
        [venv / "bin" / "mambatalk", "--version"],
        [venv / "bin" / "mambatalk", "generate", "--help"],
        [python, "-c", "import mambatalk; print(mambatalk.Synthesizer, mambatalk.read_audio)"],
    ):
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


def test_the_sdist_installs_as_an_application(distributions: Path, tmp_path: Path) -> None:
    """As pipx does: an environment of its own, and the command in a folder of commands."""
    (sdist,) = distributions.glob("*.tar.gz")
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("PYTHON")},
        "UV_TOOL_DIR": str(tmp_path / "tools"),
        "UV_TOOL_BIN_DIR": str(tmp_path / "bin"),
    }
    constraints = ROOT / "constraints.txt"
    subprocess.run(
        ["uv", "tool", "install", "--quiet", "--python", sys.executable, "-c", constraints, sdist],
        check=True,
        env=environment,
    )
    done = subprocess.run(
        [tmp_path / "bin" / "mambatalk", "--version"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert TAG.removeprefix("v") in done.stdout


def test_the_version_is_that_of_the_tag(distributions: Path) -> None:
    names = sorted(path.name for path in distributions.iterdir() if path.suffix in (".whl", ".gz"))
    assert names == ["mambatalk-9.8.7-py3-none-any.whl", "mambatalk-9.8.7.tar.gz"]
