"""Reading and running DVC's graph, without Prefect."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from dvc.repo import Repo

from flows.commands import ProcessGroup
from flows.gpu import places
from flows.stages import StageError, changed_stages, read_graph, run_module, run_stage
from flows.workspace import Workspace
from mambatalk.errors import InputError
from tests.flows.toy import instruct

ROOT = Path(__file__).parents[2]
UNREACHABLE_STORE = {
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    # The first failure counts.
    "AWS_MAX_ATTEMPTS": "1",
}


def run(toy: Workspace, stage: str, *, timeout: float = 60) -> tuple[str, list[str]]:
    """Return the outcome of a stage and its output."""
    lines: list[str] = []
    return run_stage(toy, stage, on_line=lines.append, timeout=timeout), lines


def test_graph_of_dvc_is_read_with_one_stage_for_each_matrix_entry(toy: Workspace) -> None:
    graph = read_graph(toy)
    assert graph.parents == {
        "first": frozenset(),
        "pair@left": {"first"},
        "pair@right": {"first"},
        "last": {"pair@left", "pair@right"},
    }
    names = list(graph.parents)
    for name, parents in graph.parents.items():
        assert all(names.index(parent) < names.index(name) for parent in parents)
    assert graph.with_ancestors(["pair"]) == ["first", "pair@left", "pair@right"]
    assert graph.with_ancestors(["pair@left"]) == ["first", "pair@left"]
    assert graph.with_descendants({"pair@left"}) == {"pair@left", "last"}


def test_a_stage_runs_once_and_is_then_up_to_date(toy: Workspace) -> None:
    outcome, lines = run(toy, "first")
    assert outcome == "Ran"
    assert "hello from first" in lines
    assert run(toy, "first")[0] == "Up to date"
    assert "first" not in changed_stages(toy)
    (toy.root / "params.yaml").write_text("word: other\n")
    assert "first" in changed_stages(toy)


def test_an_earlier_result_is_restored_and_not_run_again(toy: Workspace) -> None:
    params = toy.root / "params.yaml"
    before = params.read_text()
    assert run(toy, "first")[0] == "Ran"
    params.write_text("word: other\n")
    assert run(toy, "first")[0] == "Ran"
    params.write_text(before)
    outcome, lines = run(toy, "first")
    assert outcome == "Restored"
    assert "hello from first" not in lines


def test_a_stage_is_built_without_a_remote_that_is_away(
    toy: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build of hours must not end because the store restarts."""
    for name, value in UNREACHABLE_STORE.items():
        monkeypatch.setenv(name, value)
    command = [sys.executable, "-m", "dvc", "remote", "add", "--quiet", "--default"]
    subprocess.run([*command, "store", "s3://bucket"], cwd=toy.root, check=True)
    lines: list[str] = []
    outcome = run_stage(toy, "first", on_line=lines.append, timeout=300, pull=True)
    assert outcome == "Ran"
    assert any(line.startswith("warning: first: asking the DVC remote failed") for line in lines)


def test_a_folder_without_parameters_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected a checkout.*found no params\.yaml"):
        Workspace.open(tmp_path)


@pytest.mark.parametrize("kind", ["config", "data-contract", "nan", "transient"])
def test_the_kind_of_failure_comes_from_the_status_file(toy: Workspace, kind: str) -> None:
    instruct(toy, "first", kind)
    with pytest.raises(StageError, match="as instructed") as failure:
        run(toy, "first")
    assert failure.value.kind == kind


def test_a_stage_that_takes_too_long_is_stopped_with_all_it_started(toy: Workspace) -> None:
    instruct(toy, "first", "hang")
    with pytest.raises(StageError, match="stopped after") as failure:
        run(toy, "first", timeout=6)
    assert failure.value.kind == "timeout"
    with pytest.raises(ProcessLookupError):
        os.kill(int((toy.paths.runs / "first/pid").read_text()), 0)


def test_no_stage_starts_in_a_group_that_was_stopped(toy: Workspace) -> None:
    with ProcessGroup() as group:
        group.stop()
        with pytest.raises(StageError) as failure:
            run(toy, "first")
    assert failure.value.kind == "cancelled"
    assert not (toy.paths.runs / "first").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_no_stage_outlives_the_process_that_started_it(
    toy: Workspace, number: signal.Signals
) -> None:
    instruct(toy, "first", "hang")
    script = (
        "from flows.stages import run_stage; from flows.workspace import Workspace; "
        f"run_stage(Workspace.open({str(toy.root)!r}), 'first', on_line=print, timeout=60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-uc", script],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        stderr=subprocess.DEVNULL,
    )
    for line in process.stdout or ():
        if "hello from first" in line:
            break
    stage = os.pidfd_open(int((toy.paths.runs / "first/pid").read_text()))
    process.send_signal(number)
    process.wait()
    assert select.select([stage], [], [], 30)[0], "the stage still runs"
    os.close(stage)
    instruct(toy, "first")
    assert run(toy, "first")[0] == "Ran"


def test_a_stage_that_is_killed_counts_as_interrupted(toy: Workspace) -> None:
    instruct(toy, "first", "hang")

    def kill(line: str) -> None:
        if "hello from first" in line:
            os.kill(int((toy.paths.runs / "first/pid").read_text()), signal.SIGKILL)

    with pytest.raises(StageError, match="was killed") as failure:
        run_stage(toy, "first", on_line=kill, timeout=60)
    assert failure.value.kind == "interrupted"


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])
def test_a_stage_that_is_killed_before_it_begins_counts_as_interrupted(
    toy: Workspace, monkeypatch: pytest.MonkeyPatch, shell: str
) -> None:
    """It has no status file then."""
    monkeypatch.setenv("SHELL", shell)
    (toy.root / "stage.py").write_text("import os; os.kill(os.getpid(), 9)")
    with pytest.raises(StageError, match="was killed") as failure:
        run(toy, "first")
    assert failure.value.kind == "interrupted"


def test_a_stage_that_does_not_start_fails_with_dvc_s_last_line(toy: Workspace) -> None:
    with pytest.raises(StageError, match="fourth") as failure:
        run(toy, "fourth")
    assert failure.value.kind == "unexpected"


def test_a_lock_that_another_command_holds_is_transient(toy: Workspace) -> None:
    with Repo(str(toy.root)) as repo, repo.lock, pytest.raises(StageError) as failure:
        run(toy, "first")
    assert failure.value.kind == "transient"


def test_a_graph_that_dvc_cannot_read_is_an_error_of_configuration(toy: Workspace) -> None:
    (toy.root / "dvc.yaml").write_text("stages: [")
    with pytest.raises(StageError, match=r"dvc\.yaml' is invalid.* line 2") as failure:
        changed_stages(toy)
    assert failure.value.kind == "config"


@pytest.mark.parametrize(("arguments", "kind"), [(["huge"], "config"), (["--help"], None)])
def test_the_exit_code_of_a_module_decides_the_kind(arguments: list[str], kind: str | None) -> None:
    """Exit code 2 is bad input; the last line of the output is the message."""
    checkout = Workspace.open(ROOT)
    lines: list[str] = []
    if kind is None:
        run_module(checkout, "tasks.tools.profile", *arguments, on_line=lines.append, timeout=60)
        assert any("Usage" in line for line in lines)
        return
    with pytest.raises(StageError, match="P=huge") as failure:
        run_module(checkout, "tasks.tools.profile", *arguments, on_line=lines.append, timeout=60)
    assert failure.value.kind == kind


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5"])
def test_an_invalid_number_of_places_is_refused(
    toy: Workspace, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("MAMBATALK_SLOTS", value)
    with pytest.raises(InputError, match=f"MAMBATALK_SLOTS: .* found '{value}'"):
        places(toy)


@pytest.mark.parametrize(("gpus", "expected"), [([], [{}, {}]), (["0", "1", "2"], ["0", "1"])])
def test_places_are_limited_by_a_variable(
    toy: Workspace, monkeypatch: pytest.MonkeyPatch, gpus: list[str], expected: list[object]
) -> None:
    monkeypatch.setenv("MAMBATALK_SLOTS", "2")
    monkeypatch.setattr("flows.gpu._visible_gpus", lambda: gpus)
    found = [place.variables for place in places(toy)]
    assert [one.get("CUDA_VISIBLE_DEVICES", one) for one in found] == expected
    assert len({place.lock for place in places(toy)}) == 2


def test_a_gpu_that_cuda_cannot_name_is_reported_in_one_line(
    toy: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("flows.gpu._PRINT_UUIDS", "raise RuntimeError('the driver is gone')")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(InputError, match=r"^GPU: .* found an error \(RuntimeError: the driver"):
        places(toy)


def test_a_gpu_is_asked_for_its_name_once(toy: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking imports PyTorch, which takes seconds, and every stage needs a place."""
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("flows.gpu._PRINT_UUIDS", "print('GPU-1', open('asked', 'a').write('x'))")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")
    monkeypatch.chdir(toy.root)
    for _ in range(2):
        assert places(toy)[0].lock.name == "GPU-1.lock"
    assert (toy.root / "asked").read_text() == "x"
