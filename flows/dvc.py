"""DVC's graph, read and run from outside: which stages there are, which are stale, and one stage at
a time.

The graph is DVC's and is never restated. A plain `dvc repro -s STAGE` says "didn't change" while
its upstream is stale, so stages are run in graph order, and the first look (`dvc status`) is
carried down the graph.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Line = Callable[[str], None]
Kind = str
RETRIED: tuple[Kind, ...] = ("transient", "interrupted")
_LOCK_HELD = "Unable to acquire lock"
UNCHANGED = "didn't change, skipping"


class StageError(Exception):
    """A stage that did not end well, with the kind of failure that its status file names."""

    def __init__(self, stage: str, kind: Kind, message: str) -> None:
        super().__init__(f"{stage} failed ({kind}): {message}")
        self.stage, self.kind = stage, kind


@dataclass(frozen=True)
class Graph:
    """Stages in an order in which each comes after all it depends on."""

    parents: dict[str, frozenset[str]]

    def with_ancestors(self, targets: Iterable[str]) -> list[str]:
        """The targets (a name, or a matrix by its name before @) and all they depend on; no target
        means all.
        """
        wanted = {
            name
            for name in self.parents
            if not targets or name in targets or name.split("@")[0] in targets
        }
        for name in reversed(self.parents):
            if name in wanted:
                wanted |= self.parents[name]
        return [name for name in self.parents if name in wanted]

    def downstream(self, changed: Iterable[str]) -> set[str]:
        """The changed stages and all that depend on them."""
        stale = set(changed)
        for name, parents in self.parents.items():
            if parents & stale:
                stale.add(name)
        return stale


def read_graph(root: Path) -> Graph:
    """The graph of `dvc.yaml`, matrices laid out."""
    import networkx
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        graph = repo.index.graph
        order = networkx.lexicographical_topological_sort(
            graph.reverse(), key=lambda stage: stage.name
        )
        return Graph(
            {stage.name: frozenset(one.name for one in graph.successors(stage)) for stage in order}
        )


def changed_stages(root: Path) -> set[str]:
    """Stages that `dvc status` calls changed by themselves; those below them are not named."""
    result = subprocess.run(
        dvc("status", "--json"),
        cwd=root,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise StageError(
            "dvc status", "config", (result.stderr.strip().splitlines() or ["no word"])[-1]
        )
    return {name.split(":")[-1] for name in json.loads(result.stdout or "{}")}


class Children:
    """Commands at work, so that one call ends them all and lets no other begin."""

    def __init__(self) -> None:
        self._lock, self._running, self.stopped = (
            threading.Lock(),
            set[subprocess.Popen[str]](),
            False,
        )

    @contextmanager
    def start(self, command: list[str], **options: Any) -> Iterator["subprocess.Popen[str]"]:
        """Run a command for the length of the block; the end of the block ends it."""
        with self._lock:
            if self.stopped:
                raise StageError("build", "cancelled", "the build was stopped")
            process = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, **options)
            self._running.add(process)
        try:
            yield process
        finally:
            if process.stdin:
                process.stdin.close()
            process.wait()
            with self._lock:
                self._running.discard(process)

    def stop(self) -> None:
        """Tell every command to end, and start none from now on."""
        with self._lock:
            self.stopped = True
            for process in self._running:
                process.terminate()


def run_dvc(
    root: Path,
    arguments: list[str],
    *,
    on_line: Line,
    timeout: float,
    variables: Mapping[str, str],
    children: Children,
) -> int:
    """Run one DVC command under the launcher, line by line; it ends with us, however we end.

    Raises:
        TimeoutError: It took longer than `timeout` seconds and was stopped.

    """
    command = [sys.executable, "-m", "flows.supervise", *dvc(*arguments)]
    launcher_root = str(Path(__file__).parents[1])
    env = {**environment(), **variables, "PYTHONUNBUFFERED": "1"}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, (launcher_root, env.get("PYTHONPATH"))))
    deadline = time.monotonic() + timeout
    with children.start(
        command,
        cwd=root,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=1,
        errors="replace",
    ) as process:
        timer = _stop_at(process, deadline)
        try:
            for line in process.stdout or ():
                if line.strip():
                    on_line(line.rstrip())
            code = process.wait()
        finally:
            timer.cancel()
    if time.monotonic() >= deadline:
        raise TimeoutError(f"stopped after {timeout:.0f} s")
    return code


def run_stage(
    root: Path,
    stage: str,
    *,
    on_line: Line,
    timeout: float,
    variables: Mapping[str, str],
    children: Children,
) -> Literal["Ran", "Up to date"]:
    """Run one stage whose upstream is fresh.

    Raises:
        StageError: With the kind from `runs/STAGE/status.json`; `timeout` where it took too long,
            `cancelled` where `children` were stopped.

    """
    lines: list[str] = []

    def keep(line: str) -> None:
        lines.append(line)
        on_line(line)

    _status_file(root, stage, variables).unlink(missing_ok=True)
    try:
        code = run_dvc(
            root,
            ["repro", "--single-item", stage],
            on_line=keep,
            timeout=timeout,
            variables=variables,
            children=children,
        )
    except TimeoutError as error:
        raise StageError(stage, "timeout", str(error)) from None
    if code and children.stopped:
        raise StageError(stage, "cancelled", "the build was stopped")
    if code:
        raise StageError(stage, *_why(root, stage, variables, lines))
    return "Up to date" if any(UNCHANGED in line for line in lines) else "Ran"


def _why(
    root: Path, stage: str, variables: Mapping[str, str], lines: list[str]
) -> tuple[Kind, str]:
    if any(_LOCK_HELD in line for line in lines):
        return "transient", "another DVC command held the repository"
    try:
        status = json.loads(_status_file(root, stage, variables).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return "unexpected", next((line for line in reversed(lines) if line), "no output")
    if status["state"] == "running":  # It never came to write how it ended: killed from outside.
        return "interrupted", "the stage was killed"
    return status["kind"] or "unexpected", status["message"] or "no message"


def _status_file(root: Path, stage: str, variables: Mapping[str, str]) -> Path:
    runs = {**os.environ, **variables}.get("MAMBATALK_RUNS", "runs")
    return root / runs / stage / "status.json"


def dvc(*arguments: str) -> list[str]:
    """A DVC command of the running interpreter."""
    return [sys.executable, "-m", "dvc", *arguments]


def environment() -> dict[str, str]:
    """Our environment with the running interpreter first on PATH, so that stages run with it
    too.
    """
    return {
        **os.environ,
        "DVC_NO_ANALYTICS": "1",
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", ""))),
    }


def _stop_at(process: "subprocess.Popen[str]", deadline: float) -> threading.Timer:
    timer = threading.Timer(deadline - time.monotonic(), process.terminate)
    timer.daemon = True
    timer.start()
    return timer
