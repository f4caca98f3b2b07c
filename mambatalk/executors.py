"""One `map` over clips that runs in this process, in worker processes, or on a Dask cluster.

Results arrive in the order of the items and only a few are in memory at a time. So the output
depends neither on the executor nor on the number of workers, and memory does not grow with the
number of clips. If a worker dies, its items are tried again; an item that kills its worker when it
runs alone is returned as `FailedItem`, and the run continues.

On a cluster, every worker needs this package, and the corpus and the stores under the same paths.
"""

import ctypes
import logging
import os
import signal
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar
from urllib.parse import urlsplit

from mambatalk.errors import InputError

if TYPE_CHECKING:
    from distributed import Client

T = TypeVar("T")
R = TypeVar("R")
DASK_ADDRESS: Final = "MAMBATALK_DASK"
"""Environment variable with the address of a Dask scheduler, such as tcp://scheduler:8786."""
PREFETCH: Final = 1
"""Items submitted beyond one per worker, so that no worker waits for the next item. The number is
small because a result can hold minutes of motion.
"""
CONNECT_SECONDS: Final = 20
KEPT_BYTES: Final = 2**25
"""Size of arrays that a worker allocates from memory that it keeps: glibc's largest."""
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
"""Names of parameters in malloc.h."""


@dataclass(frozen=True)
class FailedItem:
    """Returned in place of a result if the worker died while it ran only this item."""

    reason: str = "the worker process died"


class Executor(Protocol):
    """Something that maps a function over items."""

    def map(self, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R | FailedItem]:
        """Yield results in the order of `items`.

        An exception raised by `work` ends the map; the death of a worker does not.
        """


@contextmanager
def open_executor(workers: int) -> Iterator[Executor]:
    """Open the Dask cluster named by `MAMBATALK_DASK`, or processes, or this process alone.

    Args:
        workers: Number of processes if no cluster is configured; 1 works in this process.

    Raises:
        InputError: The cluster does not answer or has no workers, or `distributed` is not
            installed.

    """
    address = os.environ.get(DASK_ADDRESS)
    if address:
        with _connect(address) as client:
            yield DaskExecutor(client)
    elif workers > 1:
        with ProcessExecutor(workers) as executor:
            yield executor
    else:
        yield InlineExecutor()


class InlineExecutor:
    """Runs everything in the calling process."""

    def map(self, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R | FailedItem]:
        """Yield results in the order of `items`."""
        yield from map(work, items)


class _WorkerExecutor(ABC):
    """Base of executors whose workers can die without ending the run."""

    death: type[Exception]
    """Exception of a future whose worker died."""

    def map(self, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R | FailedItem]:
        """Yield results in the order of `items`; see `Executor.map`."""
        pending: deque[tuple[T, Any]] = deque()
        for item in items:
            pending.append((item, self._submit(work, item)))
            while len(pending) >= self._worker_count() + PREFETCH:
                yield from self._next_results(work, pending)
        while pending:
            yield from self._next_results(work, pending)

    def _next_results(
        self, work: Callable[[T], R], pending: deque[tuple[T, Any]]
    ) -> Iterator[R | FailedItem]:
        """Yield the oldest result, or all pending results if a worker died.

        The death of a process breaks the whole pool, and the futures do not show which item caused
        it. Running each failed item alone finds out.
        """
        try:
            result = pending[0][1].result()
        except self.death:
            finished = list(pending)
            pending.clear()
            for _, future in finished:
                future.exception()  # Waits until the future is done.
            self._replace_workers()
            for item, future in finished:
                if isinstance(future.exception(), self.death):
                    yield self._run_alone(work, item)
                else:
                    yield future.result()
            return
        pending.popleft()
        yield result

    def _run_alone(self, work: Callable[[T], R], item: T) -> R | FailedItem:
        try:
            result: R = self._submit(work, item).result()
        except self.death:
            self._replace_workers()
            return FailedItem()
        return result

    @abstractmethod
    def _worker_count(self) -> int:
        """Return the number of workers."""

    @abstractmethod
    def _submit(self, work: Callable[[T], R], item: T) -> Any:
        """Submit an item and return its future."""

    @abstractmethod
    def _replace_workers(self) -> None:
        """Replace workers that died."""


class ProcessExecutor(_WorkerExecutor):
    """Processes on this machine, started with the first item and replaced when one dies.

    Args:
        workers: Number of processes.

    """

    death = BrokenProcessPool

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> "ProcessExecutor":
        return self

    def __exit__(self, *_: object) -> None:
        self._replace_workers()

    def _worker_count(self) -> int:
        return self._workers

    def _submit(self, work: Callable[[T], R], item: T) -> "Future[R]":
        if self._pool is None:
            # Spawn, because a fork of a process with threads can deadlock.
            self._pool = ProcessPoolExecutor(
                self._workers, mp_context=get_context("spawn"), initializer=_prepare_worker
            )
        try:
            return self._pool.submit(work, item)
        except BrokenProcessPool as error:
            # The pool broke since the last result. Handle the item with the other pending ones.
            broken: Future[R] = Future()
            broken.set_exception(error)
            return broken

    def _replace_workers(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None


def _prepare_worker() -> None:
    _follow_parent()
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Let malloc reuse the memory of large arrays instead of returning it to the kernel.

    The arrays of a clip are larger than what glibc keeps by default, and mapping and zeroing their
    pages again takes a tenth of the time of reading a clip. Memory beyond the limits set here is
    still returned.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, KEPT_BYTES)
        mallopt(_M_TRIM_THRESHOLD, 2 * KEPT_BYTES)


def _follow_parent() -> None:
    """End this worker process when its parent ends, and pass SIGINT on to the parent.

    Workers of `ProcessPoolExecutor` would otherwise wait for the next item forever: they hold both
    ends of the queue's pipe, so they never see it close. After Ctrl-C they would print a traceback
    each.
    """
    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    def pass_on(number: int, _: object) -> None:
        # After the parent's end its id may be another process's.
        if os.getppid() == parent.pid:
            os.kill(parent.pid, number)

    signal.signal(signal.SIGINT, pass_on)
    threading.Thread(target=watch, daemon=True, name="exit-with-parent").start()


class DaskExecutor(_WorkerExecutor):
    """Workers of a Dask cluster.

    Dask itself runs the items of a dead worker on another one, a few times.

    Args:
        client: A client of the cluster's scheduler.

    """

    def __init__(self, client: "Client") -> None:
        from distributed import CancelledError, KilledWorker
        from distributed.comm import CommClosedError

        self.death = KilledWorker
        self._connection_errors = CancelledError, CommClosedError
        self._client = client

    def map(self, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R | FailedItem]:
        """Yield results in the order of `items`; see `Executor.map`.

        Raises:
            InputError: The connection to the scheduler is lost.

        """
        try:
            yield from super().map(work, items)
        except self._connection_errors as error:
            raise _connection_lost(error) from None

    def _worker_count(self) -> int:
        # Threads of all workers, counted every time, because a cluster may grow and shrink.
        try:
            return max(1, sum(self._client.nthreads().values()))
        except OSError as error:
            raise _connection_lost(error) from None

    def _submit(self, work: Callable[[T], R], item: T) -> Any:
        return self._client.submit(work, item, pure=False)

    def _replace_workers(self) -> None:
        """Do nothing: the cluster replaces its workers."""


def _connection_lost(error: BaseException) -> InputError:
    return InputError(
        DASK_ADDRESS,
        f"expected a running scheduler, found that it stopped during the run"
        f" ({type(error).__name__})",
        "read the scheduler's log, restart it and run the same command again",
    )


@contextmanager
def _connect(address: str) -> Iterator["Client"]:
    """Yield a client of a scheduler that answers and has workers."""
    try:
        from distributed import Client
    except ImportError:
        raise InputError(
            DASK_ADDRESS,
            "expected the package `distributed`, found that it is not installed",
            f"pip install 'mambatalk[cluster]', or unset {DASK_ADDRESS}",
        ) from None
    try:
        _check_address(address)
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError(
            DASK_ADDRESS,
            f"expected a scheduler such as tcp://host:8786, found none at {address} ({error})",
            f"start one with `dask scheduler`, or unset {DASK_ADDRESS} to use this machine",
        ) from None
    # When the connection is lost, these loggers would print tracebacks in addition to our one line.
    for name in ("distributed.client", "distributed.batched"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with client:
        _wait_for_workers(client, address)
        yield client


def _check_address(address: str) -> None:
    """Raise ValueError if the address has no port: a client would retry it for minutes."""
    if urlsplit(address if "://" in address else f"tcp://{address}").port is None:
        raise ValueError("the address has no port")


def _wait_for_workers(client: "Client", address: str) -> None:
    try:
        client.wait_for_workers(1, timeout=CONNECT_SECONDS)
    except TimeoutError:
        raise InputError(
            DASK_ADDRESS,
            f"expected at least one worker, found none at the scheduler {address}",
            f"start workers with `dask worker {address}`, or unset {DASK_ADDRESS}",
        ) from None
