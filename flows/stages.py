"""DVC's graph, read and run from outside: stages, which of them are stale, and one at a time.

The graph is DVC's and is never restated. `dvc repro --single-item STAGE` reports "didn't change"
while an upstream stage is stale, so stages are run in topological order, and the result of one
`dvc status` at the start is carried down the graph.

This module must not be called `dvc`: Prefect loads a deployed flow by its path, with this folder
first on the import path, and would find it in place of DVC.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from flows.commands import CommandsStoppedError, OnLine, run_command
from flows.gpu import ReservedPlace
from flows.workspace import Workspace
from tasks.runtime.dvc_command import CONTINUE
from tasks.tools.repro import ADVICE

Outcome = Literal["Ran", "Restored", "Up to date"]
"""What happened to a stage. "Restored": DVC's run cache held the outputs of an earlier run with the
same command, parameters and dependencies."""
RETRYABLE_KINDS: Final = ("transient", "interrupted")
_LOCK_HELD: Final = "Unable to acquire lock"
_GRAPH_HINT: Final = (
    "correct the file, or after a merge run `git checkout --ours dvc.lock` and the build again"
)
_UNCHANGED: Final = "didn't change, skipping"
_RESTORED: Final = "is cached - skipping run"
_KILLED: Final = re.compile(r"exited with -\d+")


class StageError(Exception):
    """A stage that failed.

    Args:
        stage: Name of the stage or command.
        kind: Kind of failure: one of `tasks.runtime.status.Kind`, "timeout" or "cancelled".
        message: What failed, in one line.

    """

    def __init__(self, stage: str, kind: str, message: str) -> None:
        super().__init__(f"{stage} failed ({kind}): {message}")
        self.stage = stage
        self.kind = kind
        self.message = message

    def __reduce__(self) -> tuple[type["StageError"], tuple[str, str, str]]:
        """Pickle with the constructor's arguments."""
        return type(self), (self.stage, self.kind, self.message)


@dataclass(frozen=True)
class Graph:
    """Stages in topological order."""

    parents: dict[str, frozenset[str]]
    """Direct dependencies of each stage."""

    def with_ancestors(self, targets: Iterable[str]) -> list[str]:
        """Return targets and all stages they depend on, in topological order.

        Args:
            targets: Stage names; the name of a matrix before its `@` selects all its stages.
                Empty selects all.

        """
        targets = set(targets)
        selected = {
            name
            for name in self.parents
            if not targets or name in targets or name.split("@")[0] in targets
        }
        for name in reversed(self.parents):
            if name in selected:
                selected |= self.parents[name]
        return [name for name in self.parents if name in selected]

    def with_descendants(self, stages: Iterable[str]) -> set[str]:
        """Return stages and all stages that depend on them."""
        found = set(stages)
        for name, parents in self.parents.items():
            if parents & found:
                found.add(name)
        return found


def read_graph(workspace: Workspace) -> Graph:
    """Read the graph of `dvc.yaml`, with one stage for each entry of a matrix.

    Raises:
        StageError: `dvc.yaml` or `dvc.lock` is invalid.

    """
    import networkx
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    with Repo(str(workspace.root)) as repo:
        try:
            graph = repo.index.graph
        except DvcException as error:
            message = f"{' '.join(str(error).split())}; {_GRAPH_HINT}"
            raise StageError("the graph", "config", message) from None
        # Ties are broken by name, so that the order does not change between runs.
        order = networkx.lexicographical_topological_sort(
            graph.reverse(), key=lambda stage: stage.name
        )
        parents = {}
        for stage in order:
            parents[stage.name] = frozenset(parent.name for parent in graph.successors(stage))
        return Graph(parents)


def changed_stages(workspace: Workspace) -> set[str]:
    """Return the stages that `dvc status` reports; stages downstream of them are not among them.

    Raises:
        StageError: `dvc status` failed.

    """
    result = subprocess.run(
        dvc_command("status", "--json"),
        cwd=workspace.root,
        env=workspace.environment({}),
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        # All lines: for a dvc.yaml that cannot be read, the reason comes first, an excerpt last.
        message = " ".join(result.stderr.split()) or "no error message"
        raise StageError("dvc status", "config", message)
    changed = json.loads(result.stdout or "{}")
    return {name.split(":")[-1] for name in changed}


def run_stage(
    workspace: Workspace,
    stage: str,
    *,
    on_line: OnLine,
    timeout: float,
    place: ReservedPlace | None = None,
    pull: bool = False,
) -> Outcome:
    """Run one stage whose upstream stages are up to date.

    Args:
        workspace: Checkout that holds the stage.
        stage: Name in `dvc.yaml`, such as "train_vq@face".
        on_line: Called with each line of output.
        timeout: Seconds after which the stage is stopped.
        place: The place where it runs. If None, it runs without one.
        pull: Whether outputs of an earlier run may come from DVC's remote. If the remote does not
            answer, the stage runs without it.

    Raises:
        StageError: The stage failed. Its kind is read from `runs/STAGE/status.json`, or is
            "timeout" or "cancelled".

    """
    lines: list[str] = []

    def keep(line: str) -> None:
        lines.append(line)
        # DVC prints the advice to push after every stage, and the flow itself says how to continue.
        if line != ADVICE and not line.endswith(CONTINUE):
            on_line(line)

    def reproduce(*options: str) -> int:
        lines.clear()
        command = dvc_command("repro", "--single-item", *options, stage)
        return _run(workspace, stage, command, on_line=keep, timeout=timeout, place=place)

    status = _status_file(workspace, stage)
    status.unlink(missing_ok=True)
    code = reproduce("--pull") if pull else reproduce()
    if code and pull and not status.exists():
        kind, message = _failure(workspace, stage, lines)
        # DVC failed before the stage began: most likely its remote does not answer, which must not
        # end a build of hours. Any other cause appears again below.
        if kind == "unexpected":
            on_line(f"warning: {stage}: asking the DVC remote failed; going on without: {message}")
            code = reproduce()
    if code:
        raise StageError(stage, *_failure(workspace, stage, lines))
    if any(_UNCHANGED in line for line in lines):
        return "Up to date"
    return "Restored" if any(_RESTORED in line for line in lines) else "Ran"


def run_whole(
    workspace: Workspace,
    targets: Sequence[str],
    *,
    on_line: OnLine,
    timeout: float,
    place: ReservedPlace | None = None,
) -> None:
    """Run one `dvc repro` for all targets, or for everything if there are none.

    Raises:
        StageError: The command failed, took longer than `timeout` seconds or was cancelled.

    """
    command = dvc_command("repro", *targets)
    code = _run(workspace, "dvc repro", command, on_line=on_line, timeout=timeout, place=place)
    if code:
        raise StageError("dvc repro", "unexpected", f"exit code {code}; see the log above")


def run_module(
    workspace: Workspace, module: str, *arguments: str, on_line: OnLine, timeout: float
) -> None:
    """Run `python -m MODULE` in a workspace.

    Raises:
        StageError: The module failed; "config" is the kind of exit code 2.

    """
    last = ""

    def keep(line: str) -> None:
        nonlocal last
        last = line
        on_line(line)

    command = [sys.executable, "-m", module, *arguments]
    code = _run(workspace, module, command, on_line=keep, timeout=timeout, place=None)
    if code:
        raise StageError(module, "config" if code == 2 else "unexpected", last or "no output")


def run_dvc(workspace: Workspace, *arguments: str, on_line: OnLine, timeout: float) -> None:
    """Run a DVC command that moves data.

    Raises:
        StageError: The command failed; "transient", as a remote may answer later.

    """
    problem = ""

    def keep(line: str) -> None:
        nonlocal problem
        if line.startswith("ERROR: "):
            problem = line.removeprefix("ERROR: ")
        on_line(line)

    name = f"dvc {arguments[0]}"
    command = dvc_command(*arguments)
    code = _run(workspace, name, command, on_line=keep, timeout=timeout, place=None)
    if code:
        raise StageError(name, "transient", problem or f"exit code {code}; see the log above")


def dvc_command(*arguments: str) -> list[str]:
    """Return a DVC command of the running interpreter."""
    return [sys.executable, "-m", "tasks.runtime.dvc_command", *arguments]


def _run(
    workspace: Workspace,
    name: str,
    command: Sequence[str],
    *,
    on_line: OnLine,
    timeout: float,
    place: ReservedPlace | None,
) -> int:
    try:
        return run_command(
            workspace,
            command,
            on_line=on_line,
            timeout=timeout,
            variables=place.variables if place else {},
            descriptors=[place.descriptor] if place else [],
        )
    except TimeoutError as error:
        raise StageError(name, "timeout", str(error)) from None
    except CommandsStoppedError:
        raise StageError(name, "cancelled", "the build was stopped") from None


def _failure(workspace: Workspace, stage: str, lines: list[str]) -> tuple[str, str]:
    """Return the kind of a failure and its message, from the status file or else the output."""
    if any(_LOCK_HELD in line for line in lines):
        return "transient", "another DVC command holds the repository's lock"
    if any(_KILLED.search(line) for line in lines):
        return "interrupted", "the stage was killed"
    try:
        status = json.loads(_status_file(workspace, stage).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return "unexpected", next((line for line in reversed(lines) if line), "no output")
    if status["state"] == "running":
        # A stage writes "failed" itself, unless it is killed.
        return "interrupted", "the stage was killed"
    return status["kind"] or "unexpected", status["message"] or "no message"


def _status_file(workspace: Workspace, stage: str) -> Path:
    return workspace.paths.run_folder(stage) / "status.json"
