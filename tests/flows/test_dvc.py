"""Reading and running DVC's graph, without Prefect."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flows.dvc import Children, StageError, changed_stages, read_graph, run_stage
from tests.flows.toy import order

ROOT = Path(__file__).parents[2]


def run(toy, stage, **options):
    quiet = {"on_line": lambda line: None, "timeout": 60, "variables": {}, "children": Children()}
    return run_stage(toy, stage, **{**quiet, **options})


def test_graph_is_dvcs_with_matrices_laid_out(toy):
    graph = read_graph(toy)
    assert graph.parents == {
        "first": frozenset(),
        "pair@left": {"first"},
        "pair@right": {"first"},
        "last": {"pair@left", "pair@right"},
    }
    names = list(graph.parents)
    assert all(
        names.index(parent) < names.index(name) for name in names for parent in graph.parents[name]
    )
    assert graph.with_ancestors(["pair"]) == ["first", "pair@left", "pair@right"]
    assert graph.with_ancestors(["pair@left"]) == ["first", "pair@left"]
    assert graph.downstream({"pair@left"}) == {"pair@left", "last"}


def test_a_stage_runs_once_and_is_then_up_to_date(toy):
    lines = []
    assert run(toy, "first", on_line=lines.append) == "Ran"
    assert "hello from first" in lines
    assert run(toy, "first") == "Up to date"
    assert "first" not in changed_stages(toy)
    (toy / "params.yaml").write_text("word: other\n")
    assert "first" in changed_stages(toy)


@pytest.mark.parametrize("kind", ["config", "data-contract", "nan", "transient"])
def test_the_kind_of_failure_comes_from_the_status_file(toy, kind):
    order(toy, "first", kind)
    with pytest.raises(StageError, match="as told") as failure:
        run(toy, "first")
    assert failure.value.kind == kind


def test_a_stage_that_takes_too_long_is_stopped_with_all_it_started(toy):
    order(toy, "first", "hang")
    with pytest.raises(StageError, match="stopped after") as failure:
        run(toy, "first", timeout=6)
    assert failure.value.kind == "timeout"
    assert not alive(int((toy / "runs/first/pid").read_text()))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_whatever_kills_us_no_stage_is_left_behind(toy, number):
    order(toy, "first", "hang")
    script = (
        "from pathlib import Path; from flows.dvc import Children, run_stage; "
        f"run_stage(Path({str(toy)!r}), 'first', on_line=print, timeout=60, variables={{}}, children=Children())"
    )
    process = subprocess.Popen(
        [sys.executable, "-uc", script],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        stderr=subprocess.DEVNULL,
    )
    for line in process.stdout:
        if "hello from first" in line:
            break
    stage = os.pidfd_open(int((toy / "runs/first/pid").read_text()))
    process.send_signal(number)
    process.wait()
    assert select.select([stage], [], [], 30)[0], "the stage lives on"
    os.close(stage)
    order(toy, "first")
    assert run(toy, "first") == "Ran"


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
