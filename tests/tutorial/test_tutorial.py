"""The whole tutorial, as a reader follows it: `make test-tutorial`.

Every block of commands of `docs/tutorial.md` runs in its order, in one clone in which nothing has
run, and prints what the page shows, apart from numbers that depend on the training. The profile is
the page's, `sample`. The short training has 2 epochs: with 4, five clips leave some differences
from 16 unclear, and the gate could not decide after some changes of the model.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.helpers.documents import ROOT, Block, shell_blocks
from tests.operations.servers import free_port
from tests.pipeline.workspace import Workspace, environment

pytestmark = [pytest.mark.tutorial, pytest.mark.timeout(3 * 3600)]

TUTORIAL = ROOT / "docs" / "tutorial.md"
# Lines that hold for the rest of the reader's shell.
KEPT = ("source ", "export ", "unset ")
# Line of `flows.dev` about a retraining that has ended. The promotion within it ends with another.
ENDED = r"^dev: .*(stages ran|: Failed|: Crashed|: Cancelled)"


@dataclass
class Reader:
    """Runs the tutorial's blocks one after the other, in one clone."""

    clone: Workspace
    blocks: Iterator[Block]
    shell: list[str] = field(default_factory=lambda: ["set -euo pipefail"])
    prefect_port: int = field(default_factory=free_port)

    def next_block(self, first: str) -> list[str]:
        """Return the commands of the next block, which begins with `first`."""
        block = next(self.blocks)
        assert block.commands[0].startswith(first), block
        port = f"127.0.0.1:{self.prefect_port}"
        return [command.replace("127.0.0.1:4200", port) for command in block.commands]

    def follow(self, first: str) -> str:
        """Run the next block; return what it prints."""
        commands = self.next_block(first)
        printed = self.run(*commands)
        self.shell += [command for command in commands if command.startswith(KEPT)]
        return printed

    def run(self, *commands: str) -> str:
        """Run commands in the reader's shell; return what they print."""
        script = "\n".join([*self.shell, *commands])
        done = self.clone.run("bash", "-c", script, timeout=5400)
        printed = done.stdout + done.stderr
        self._record(f"$ {script}\n{printed}")
        assert done.returncode == 0, printed[-4000:]
        return printed

    @contextmanager
    def second_terminal(self, command: str) -> Iterator["subprocess.Popen[str]"]:
        """Run a command in a terminal of its own, and end it with Ctrl-C."""
        process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=self.clone.root,
            env={**self.clone.env, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            os.killpg(process.pid, signal.SIGINT)
            process.communicate(timeout=300)

    def read_until(self, process: "subprocess.Popen[str]", pattern: str) -> str:
        """Read what a second terminal prints up to a line with this pattern."""
        assert process.stdout
        lines = []
        for line in process.stdout:
            self._record(line)
            lines.append(line)
            if re.search(pattern, line):
                return "".join(lines)
        raise AssertionError(f"it ended without {pattern}:\n" + "".join(lines))

    def _record(self, text: str) -> None:
        """Keep what a person at the terminals would have seen."""
        with (self.clone.root.parent / "transcript.txt").open("a", encoding="utf-8") as file:
            file.write(text)


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    """A reader with a clone of the working tree, whose environment `make` finds installed."""
    root = tmp_path / "mambatalk"
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in names.splitlines():
        if (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / name)
    installed = root / ".venv"
    installed.mkdir()
    for name in ("bin", "lib", "pyvenv.cfg"):
        (installed / name).symlink_to(Path(sys.prefix) / name)
    (installed / ".installed").touch()

    people = {"GIT_AUTHOR_NAME": "reader", "GIT_AUTHOR_EMAIL": "reader@localhost"}
    people |= {key.replace("AUTHOR", "COMMITTER"): value for key, value in people.items()}
    # Settings of a Prefect server that the person who runs the test uses are not the reader's.
    variables = {
        name: value
        for name, value in environment(tmp_path).items()
        if not name.startswith("PREFECT_")
    }
    variables |= {**people, "PYTHONPATH": str(root), "PREFECT_HOME": str(tmp_path / "prefect")}
    clone = Workspace(root, variables)
    clone.git("init", "--quiet")
    clone.git("add", "--all")
    clone.git("commit", "--quiet", "-m", "Clone")
    return Reader(clone, iter(shell_blocks(TUTORIAL)))


def test_the_tutorial_from_nothing_to_a_rollback(reader: Reader) -> None:
    build_the_sample(reader)
    read_the_report(reader)
    break_a_recording(reader)
    change_a_parameter(reader)
    let_the_gate_decide(reader)
    schedule_a_retraining_and_roll_back(reader)
    speak_a_sentence(reader)
    assert next(reader.blocks, None) is None


def build_the_sample(reader: Reader) -> None:
    printed = reader.follow("make repro")
    assert re.search(r"^\d+ checks: \d+ passed", printed, re.MULTILINE)
    *_, stand_in, report, quality, videos, model = page_shows("65 checks:")
    assert stand_in in printed
    for line in (report, quality, videos, model):
        assert line in printed
        assert (reader.clone.root / line.split()[-1]).exists(), line
    reader.follow("source .venv/bin/activate")


def read_the_report(reader: Reader) -> None:
    page = reader.clone.read("reports/index.html").decode().lower()
    for words in ("stand-in, not smpl-x", "not shown", "<video"):
        assert words in page, words


def break_a_recording(reader: Reader) -> None:
    printed = reader.follow("mkdir -p runs && cp -r data/sample/corpus").splitlines()
    for line in page_shows("quarantined 1_ada_0_1_1"):
        assert line in printed
    assert b"1_ada_0_1_1" in reader.clone.read("runs/broken-report/index.html")
    assert "max_frozen_seconds" in reader.run("mambatalk check runs/broken --explain frozen")


def change_a_parameter(reader: Reader) -> None:
    printed = reader.follow("git add dvc.lock metrics plots && git commit")
    ran = re.findall(r"^Running stage '(.*)':$", printed, re.MULTILINE)
    assert ran == ["train_generator", "bundle", "evaluate", "render", "report"]
    for line in page_shows("metrics/summary.json"):
        path, metric = line.split()[:2]
        assert re.search(rf"^{path} +{metric} ", printed, re.MULTILINE), line
    # As wide as a terminal, in which the columns after the metrics are the parameters.
    assert "train_generator.epochs" in reader.run("COLUMNS=200 make experiments")


def let_the_gate_decide(reader: Reader) -> None:
    for first, words in (
        ("python -m tasks.registry", "version 1,"),
        ("git checkout", "version 2,"),
    ):
        printed = reader.follow(first)
        for line in page_shows(f"registered {words}"):
            pattern = re.escape(line).replace(re.escape("..."), ".*")
            assert re.search(f"^{pattern}$", printed, re.MULTILINE), line


def schedule_a_retraining_and_roll_back(reader: Reader) -> None:
    *prepare, servers = reader.next_block("python -m flows.dev")
    assert not prepare
    ports = f"--prefect-port {reader.prefect_port} --mlflow-port {free_port()}"
    with reader.second_terminal(f"{servers} {ports}") as terminal:
        first = reader.read_until(terminal, ENDED)
        assert "0 of 17 stages ran" in first
        assert re.search(r": Unchanged: .*version 2 stays the champion", first), first

        watched = reader.follow("export PREFECT_API_URL")
        second = reader.read_until(terminal, ENDED)
        assert "Rejected" in watched
        assert re.search(r": Rejected: branch retrain/.*; 5 of 17 stages ran; It fails: ", second)
        assert "retrain/" in reader.run("git branch --list 'retrain/*'")
        status = reader.run("python -m flows.status")
        assert "Version 2 is the champion" in status
        assert "reject" in status

        assert "`version 1 is the champion, and not 2`" in TUTORIAL.read_text(encoding="utf-8")
        printed = reader.follow("python -m flows.rollback")
        assert "version 1 is the champion, and not 2" in printed
    assert terminal.returncode == 128 + signal.SIGINT
    assert "  epochs: 16" in reader.clone.read("params.yaml").decode().splitlines()
    status = reader.run("python -m flows.status")
    assert "Version 1 is the champion" in status
    assert "the hands tremble" in status


def speak_a_sentence(reader: Reader) -> None:
    reader.follow("make demo")
    assert (reader.clone.root / "runs/demo/demo.mp4").stat().st_size > 10_000
    with reader.second_terminal(f"mambatalk view runs/demo --port {free_port()}") as terminal:
        address = re.findall(r"http://127\.0\.0\.1:\d+", reader.read_until(terminal, "http://"))[-1]
        with urllib.request.urlopen(address, timeout=120) as page:
            assert "MambaTalk" in page.read().decode()


def page_shows(words: str) -> list[str]:
    """Return the lines of the output that the tutorial shows with these words."""
    text = TUTORIAL.read_text(encoding="utf-8")
    shown = re.findall(r"^```text\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return next(block.splitlines() for block in shown if words in block)
