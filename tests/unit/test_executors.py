"""Mapping over clips: in order, few in memory, the same wherever it is done, and no death of a
worker ends a run.
"""

import os
import signal
from pathlib import Path

import pytest

from mambatalk.errors import InputError
from mambatalk.executors import (
    DASK_ADDRESS,
    PREFETCH,
    DaskExecutor,
    FailedItem,
    InlineExecutor,
    ProcessExecutor,
    open_executor,
)

WORKERS = 2


def double(item):
    return 2 * item


def refuse_seven(item):
    if item == 7:
        raise InputError("item 7", "expected another number, found a seven", "leave it out")
    return item


def die_on_seven(item):
    if item == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def die_once(item):
    """Kill the process that works on item 7, the first time."""
    number, folder = item
    mark = Path(folder) / "died"
    if number == 7 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.fixture(scope="module")
def cluster():
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
def executor(request):
    if request.param == "inline":
        yield InlineExecutor()
    elif request.param == "processes":
        with ProcessExecutor(WORKERS) as processes:
            yield processes
    else:
        with request.getfixturevalue("cluster").get_client() as client:
            yield DaskExecutor(client)


def test_results_come_in_order_with_few_under_way(executor):
    started = []

    def items():
        for item in range(20):
            started.append(item)
            yield item

    for done, result in enumerate(executor.map(double, items())):
        assert result == 2 * done
        assert len(started) <= done + WORKERS + PREFETCH
    assert started == list(range(20))


def test_an_exception_of_the_work_ends_the_map(executor):
    with pytest.raises(InputError, match="found a seven"):
        list(executor.map(refuse_seven, range(20)))


@pytest.mark.parametrize("executor", ["processes", "cluster"], indirect=True)
def test_an_item_that_kills_its_worker_is_lost_and_no_other(executor):
    results = list(executor.map(die_on_seven, range(12)))
    assert isinstance(results[7], FailedItem)
    assert results[:7] + results[8:] == [item for item in range(12) if item != 7]


@pytest.mark.parametrize("executor", ["processes", "cluster"], indirect=True)
def test_a_worker_that_dies_once_costs_no_item(executor, tmp_path):
    assert list(executor.map(die_once, [(item, str(tmp_path)) for item in range(12)])) == list(
        range(12)
    )


def test_the_environment_names_the_cluster(cluster, monkeypatch):
    monkeypatch.setenv(DASK_ADDRESS, cluster.scheduler_address)
    with open_executor(1) as executor:
        assert isinstance(executor, DaskExecutor)
        assert list(executor.map(double, range(3))) == [0, 2, 4]


@pytest.mark.parametrize("address", ["scheduler", "tcp://scheduler", "tcp://scheduler:port"])
def test_an_address_without_a_port_is_not_dialled(monkeypatch, address):
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(distributed, "Client", None)
    monkeypatch.setenv(DASK_ADDRESS, address)
    with (
        pytest.raises(InputError, match=f"no scheduler at {address} .*expected one such as tcp"),
        open_executor(1),
    ):
        pass


def test_a_cluster_without_workers_is_one_line(monkeypatch):
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr("mambatalk.executors.CONNECT_SECONDS", 0.5)
    with distributed.LocalCluster(n_workers=0, dashboard_address=None) as cluster:
        monkeypatch.setenv(DASK_ADDRESS, cluster.scheduler_address)
        with (
            pytest.raises(InputError, match="without workers; expected one worker at least"),
            open_executor(1),
        ):
            pass


def test_a_scheduler_that_is_lost_on_the_way_is_one_line():
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
        with pytest.raises(InputError, match="scheduler lost on the way"):
            list(results)


def test_a_cluster_that_does_not_answer_is_one_line(monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("mambatalk.executors.CONNECT_SECONDS", 0.5)
    monkeypatch.setenv(DASK_ADDRESS, "tcp://127.0.0.1:1")
    with pytest.raises(InputError, match="no scheduler at tcp://127.0.0.1:1"), open_executor(1):
        pass
