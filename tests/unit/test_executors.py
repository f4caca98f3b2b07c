"""Mapping over clips: order, bounded memory, and workers that die."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from mambatalk.errors import InputError
from mambatalk.executors import (
    DASK_ADDRESS,
    PREFETCH,
    DaskExecutor,
    Executor,
    FailedItem,
    InlineExecutor,
    ProcessExecutor,
    open_executor,
)

WORKERS = 2


def double(item: int) -> int:
    return 2 * item


def refuse_seven(item: int) -> int:
    if item == 7:
        raise InputError("item 7", "expected another number, found a seven", "remove it")
    return item


def die_on_seven(item: int) -> int:
    if item == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def die_once(item: tuple[int, str]) -> int:
    """Kill the worker that runs item 7, the first time."""
    number, folder = item
    mark = Path(folder) / "died"
    if number == 7 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    distributed = pytest.importorskip("distributed")
    dask = pytest.importorskip("dask")
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        distributed.LocalCluster(
            n_workers=WORKERS, threads_per_worker=1, dashboard_address=None
        ) as cluster,
    ):
        yield cluster


@pytest.fixture(params=["inline", "processes", "cluster"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    if request.param == "inline":
        yield InlineExecutor()
    elif request.param == "processes":
        with ProcessExecutor(WORKERS) as processes:
            yield processes
    else:
        with request.getfixturevalue("cluster").get_client() as client:
            yield DaskExecutor(client)


def test_results_are_in_order_and_few_items_are_submitted_ahead(executor: Executor) -> None:
    started: list[int] = []

    def items() -> Iterator[int]:
        for item in range(20):
            started.append(item)
            yield item

    for done, result in enumerate(executor.map(double, items())):
        assert result == 2 * done
        assert len(started) <= done + WORKERS + PREFETCH
    assert started == list(range(20))


def test_an_exception_in_a_worker_ends_the_map(executor: Executor) -> None:
    with pytest.raises(InputError, match="found a seven"):
        list(executor.map(refuse_seven, range(20)))


@pytest.mark.parametrize("executor", ["processes", "cluster"], indirect=True)
def test_only_the_item_that_kills_its_worker_fails(executor: Executor) -> None:
    results = list(executor.map(die_on_seven, range(12)))
    assert isinstance(results[7], FailedItem)
    assert results[:7] + results[8:] == [item for item in range(12) if item != 7]


@pytest.mark.parametrize("executor", ["processes", "cluster"], indirect=True)
def test_items_of_a_worker_that_died_are_run_again(executor: Executor, tmp_path: Path) -> None:
    items = [(item, str(tmp_path)) for item in range(12)]
    assert list(executor.map(die_once, items)) == list(range(12))


PARENT = """
import os, time
from mambatalk.executors import ProcessExecutor

def work(item):
    time.sleep(0.05)
    return os.getpid()

if __name__ == "__main__":
    with ProcessExecutor(2) as executor:
        for process_id in executor.map(work, range(100_000)):
            print(process_id, flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_worker_processes_end_with_their_parent(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "parent.py").write_text(PARENT)
    with subprocess.Popen(
        [sys.executable, tmp_path / "parent.py"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        workers = psutil.Process(parent.pid).children(recursive=True)
        parent.send_signal(number)
    assert len(workers) >= WORKERS
    _, alive = psutil.wait_procs(workers, timeout=10)
    for process in alive:
        process.kill()
    assert alive == []


def test_sigint_to_a_worker_ends_its_parent(tmp_path: Path) -> None:
    """Ctrl-C and `kill -INT` end a program whichever of its processes they reach."""
    (tmp_path / "parent.py").write_text(PARENT)
    with subprocess.Popen(
        [sys.executable, tmp_path / "parent.py"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        os.kill(worker, signal.SIGINT)
        _, errors = parent.communicate(timeout=30)
    assert parent.returncode == -signal.SIGINT
    assert errors.count("Traceback") == 1, "the parent's own"


def test_the_environment_selects_the_cluster(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DASK_ADDRESS, cluster.scheduler_address)
    with open_executor(1) as executor:
        assert isinstance(executor, DaskExecutor)
        assert list(executor.map(double, range(3))) == [0, 2, 4]


@pytest.mark.parametrize("address", ["scheduler", "tcp://scheduler", "tcp://scheduler:port"])
def test_an_address_without_a_port_is_refused_without_connecting(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(distributed, "Client", None)
    monkeypatch.setenv(DASK_ADDRESS, address)
    with (
        pytest.raises(InputError, match=f"such as tcp://host:8786, found none at {address} "),
        open_executor(1),
    ):
        pass


def test_a_cluster_without_workers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr("mambatalk.executors.CONNECT_SECONDS", 0.5)
    with distributed.LocalCluster(n_workers=0, dashboard_address=None) as cluster:
        monkeypatch.setenv(DASK_ADDRESS, cluster.scheduler_address)
        with pytest.raises(InputError, match="expected at least one worker"), open_executor(1):
            pass


def test_a_scheduler_that_stops_during_the_run_is_reported_in_one_line() -> None:
    distributed = pytest.importorskip("distributed")
    dask = pytest.importorskip("dask")
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "0.5s"}),
        distributed.LocalCluster(
            n_workers=1, processes=False, protocol="tcp", dashboard_address=None
        ) as cluster,
        distributed.Client(cluster.scheduler_address, set_as_default=False) as client,
    ):
        results = DaskExecutor(client).map(double, range(100))
        assert next(results) == 0
        cluster.close()
        with pytest.raises(InputError, match="found that it stopped during the run"):
            list(results)


def test_a_cluster_that_does_not_answer_is_reported_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr("mambatalk.executors.CONNECT_SECONDS", 0.5)
    monkeypatch.setenv(DASK_ADDRESS, "tcp://127.0.0.1:1")
    with (
        pytest.raises(InputError, match=r"expected a scheduler .*, found none at tcp://127"),
        open_executor(1),
    ):
        pass
