"""The commands of README and docs run as written, in a clone whose build is finished."""

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.helpers.documents import DOCUMENTS, ROOT, Block, shell_blocks
from tests.pipeline.workspace import Workspace, environment

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("built")]

_ALL = [block for path in DOCUMENTS for block in shell_blocks(path) if not block.needs]
# A block that several documents have runs once.
BLOCKS = list({block.commands: block for block in reversed(_ALL)}.values())[::-1]

# Commands that another test or CI runs on real input, since they take minutes: where to find them.
ELSEWHERE = {
    "make test": ".ci/run",
    "make real ROOT=/data/beat_english_v2.0.0": "tests/pipeline/test_real_clips.py",
    "make real ROOT=/path/to/my_corpus": "tests/pipeline/test_real_clips.py",
    "python -m flows.build": "tests/flows/test_build.py",
    "mambatalk parity FOLDER": "tests/parity/test_parity.py",
    "mambatalk import-published WEIGHTS --out bundle": "tests/parity/test_import_published.py",
}
# Commands that run until they are stopped, and what their first page says.
SERVERS = {"mlflow ui": "MLflow", "mambatalk view": "MambaTalk"}
# The documents' placeholders, and the files of the build that replace them here.
SUBSTITUTIONS = {
    "/data/beat_english_v2.0.0": "data/sample/corpus",
    " my_corpus ": " data/sample/corpus ",
    "result.npz": "results/1_ada_0_1_1.npz",
    "truth.npz": "data/sample/corpus/smplxflame_30/1_ada_0_1_1.npz",
    "speech.wav": "data/sample/corpus/wave16k/1_ada_0_1_1.wav",
    "speech.TextGrid": "data/sample/corpus/textgrid/1_ada_0_1_1.TextGrid",
    "recorded.npz": "data/sample/corpus/smplxflame_30/1_ada_0_1_1.npz",
}


@pytest.fixture(scope="module")
def clone(built: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A clone with a finished build and an environment in `.venv`, as `make repro` leaves it."""
    folder = tmp_path_factory.mktemp("documents")
    root = folder / "clone"
    shutil.copytree(built.root, root, symlinks=True)
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    for name in tracked:
        target = root / name
        if not target.exists() and (ROOT / name).is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target)

    # The environment of this test run under the clone's own path, so that `make` installs nothing.
    environment_root = root / ".venv"
    environment_root.mkdir()
    for name in ("bin", "lib", "pyvenv.cfg"):
        (environment_root / name).symlink_to(Path(sys.prefix) / name)
    (environment_root / ".installed").touch()
    workspace = Workspace(root, {**environment(folder), "PYTHONPATH": str(root)})
    workspace.git("add", "--all")
    # A first build leaves these for the user to commit.
    workspace.git("rm", "--cached", "-r", "--quiet", "dvc.lock", "metrics", "plots")
    workspace.git("commit", "--quiet", "-m", "clone")
    return workspace


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_commands_run_as_written(clone: Workspace, block: Block) -> None:
    servers = [command for command in block.commands if command.startswith(tuple(SERVERS))]
    commands = [
        command for command in block.commands if command not in ELSEWHERE and command not in servers
    ]
    script = "\n".join(["set -euo pipefail", *commands])
    for written, here in SUBSTITUTIONS.items():
        script = script.replace(written, here)

    done = clone.run(
        "bash",
        "-c",
        script,
        GIT_AUTHOR_NAME="test",
        GIT_AUTHOR_EMAIL="test@localhost",
        GIT_COMMITTER_NAME="test",
        GIT_COMMITTER_EMAIL="test@localhost",
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    for command in servers:
        title = next(SERVERS[start] for start in SERVERS if command.startswith(start))
        assert title in _first_page(clone, command)


def test_commands_left_out_are_run_by_the_named_tests() -> None:
    written = {command for block in BLOCKS for command in block.commands}
    assert set(ELSEWHERE) <= written
    for place in ELSEWHERE.values():
        assert (ROOT / place).is_file()


def _first_page(workspace: Workspace, command: str) -> str:
    """Start a server with a command of the documents, read its first page, and stop it."""
    port = 5_000 + os.getpid() % 20_000
    server = subprocess.Popen(
        ["bash", "-c", f"exec {command} --port {port}"],
        cwd=workspace.root,
        env=workspace.env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as page:
                    return page.read().decode()
            except OSError:
                if time.monotonic() > deadline or server.poll() is not None:
                    raise
                time.sleep(0.5)
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=60)
