"""One way to map over clips, and three places to do it: in this process, in processes beside it, on
a Dask cluster.

Results come in the order of the items and few are in memory at a time, so that what is written from
them depends neither on the place nor on the number of workers, and memory not on the number of
clips. A worker that dies takes no run with it: its items are tried again, and one that kills
whoever works on it is given back as `Lost`.

On a cluster every worker must see the corpus and the stores under the same paths, and have this
package installed.
"""

import logging
import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar
from urllib.parse import urlsplit

from mambatalk.errors import InputError

if TYPE_CHECKING:
    from distributed import Client

T = TypeVar("T")
R = TypeVar("R")
ADDRESS: Final = "MAMBATALK_DASK"
"""Names the variable that holds a Dask scheduler's address, such as tcp://scheduler:8786."""
AHEAD: Final = 1
"""Items under way beside one for each worker, so that none waits for the next; each may hold
minutes of motion.
"""
CONNECT_SECONDS: Final = 20


@dataclass(frozen=True)
class Lost:
    """In place of a result: whoever worked on this item died, also when it worked on nothing
    else.
    """

    reason: str = "the process that reads it dies"


class Executor(Protocol):
    """A place to work."""

    def map(self, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R | Lost]:
        """Results in the order of `items`; an exception of `work` ends the map, the death of a
        worker does not.
        """


@contextmanager
def open_executor(workers: int) -> Iterator[Executor]:
    """The Dask cluster at `MAMBATALK_DASK` where that is set; else so many processes, or this one
    alone.

    Raises:
        InputError: The cluster does not answer, or `distributed` is not installed.

    """
    address = os.environ.get(ADDRESS)
    if address:
        with _connect(address) as client:
            yield Cluster(client)
    elif workers > 1:
        with Processes(workers) as processes:
            yield processes
    else:
        yield Inline()


class Inline:
    """No one else: the process that asks."""

    def map(self, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R | Lost]:
        """As `Executor.map` says; a death is that of the run."""
        yield from map(work, items)


class _Workers(ABC):
    """Others, that may die."""

    death: type[Exception]
    """What a future raises whose worker died."""

    def map(self, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R | Lost]:
        """As `Executor.map` says."""
        waiting: deque[tuple[T, Any]] = deque()
        for item in items:
            waiting.append((item, self._submit(work, item)))
            while len(waiting) >= self._count() + AHEAD:
                yield from self._next(work, waiting)
        while waiting:
            yield from self._next(work, waiting)

    def _next(self, work: Callable[[T], R], waiting: deque[tuple[T, Any]]) -> Iterator[R | Lost]:
        """The oldest result. When a worker died, all that are due: whose fault it was shows when
        each works alone.
        """
        try:
            result = waiting[0][1].result()
        except self.death:
            settled = _settled(waiting)
            waiting.clear()
            self._renew()
            for item, future in settled:
                yield (
                    self._alone(work, item)
                    if isinstance(future.exception(), self.death)
                    else future.result()
                )
            return
        waiting.popleft()
        yield result

    def _alone(self, work: Callable[[T], R], item: T) -> R | Lost:
        """Work on an item while nothing else is under way."""
        try:
            result: R = self._submit(work, item).result()
        except self.death:
            self._renew()
            return Lost()
        return result

    @abstractmethod
    def _count(self) -> int:
        """Workers there are."""

    @abstractmethod
    def _submit(self, work: Callable[[T], R], item: T) -> Any:
        """Begin on an item, and return its future."""

    @abstractmethod
    def _renew(self) -> None:
        """Replace who died."""


def _settled(waiting: Iterable[tuple[T, Any]]) -> list[tuple[T, Any]]:
    """Items and their futures when all have ended, well or not."""
    pairs = list(waiting)
    for _, future in pairs:
        future.exception()
    return pairs


class Processes(_Workers):
    """Processes on this machine, started when there is work and started anew when one of them
    dies.
    """

    death = BrokenProcessPool

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, *_: object) -> None:
        self._renew()

    def _count(self) -> int:
        return self._workers

    def _submit(self, work: Callable[[T], R], item: T) -> "Future[R]":
        if self._pool is None:
            # Spawned, since a fork of a process whose libraries have threads can hang.
            self._pool = ProcessPoolExecutor(self._workers, mp_context=get_context("spawn"))
        try:
            return self._pool.submit(work, item)
        except BrokenProcessPool as error:
            # It broke since the last look; this item waits its turn with those that were under way.
            broken: Future[R] = Future()
            broken.set_exception(error)
            return broken

    def _renew(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None


class Cluster(_Workers):
    """The workers of a Dask cluster, which itself tries again a few times elsewhere what was on one
    that died.
    """

    def __init__(self, client: "Client") -> None:
        from distributed import CancelledError, KilledWorker
        from distributed.comm import CommClosedError

        self.death = KilledWorker
        self._gone = CancelledError, CommClosedError
        self._client = client

    def map(self, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R | Lost]:
        """As `Executor.map` says, or a InputError when the scheduler is lost, and with it what was
        under way.
        """
        try:
            yield from super().map(work, items)
        except self._gone as error:
            raise _lost(error) from None

    def _count(self) -> int:
        """Threads of all workers; the cluster may grow and shrink meanwhile."""
        try:
            return max(1, sum(self._client.nthreads().values()))
        except OSError as error:
            raise _lost(error) from None

    def _submit(self, work: Callable[[T], R], item: T) -> Any:
        return self._client.submit(work, item, pure=False)

    def _renew(self) -> None:
        """Nothing: the cluster does."""


def _lost(error: BaseException) -> InputError:
    return InputError(
        ADDRESS,
        f"expected one that stays, found the scheduler lost on the way ({type(error).__name__})",
        "look into its log and run the same command again",
    )


@contextmanager
def _connect(address: str) -> Iterator["Client"]:
    """A client of a scheduler that answers and has workers."""
    try:
        from distributed import Client
    except ImportError:
        raise InputError(
            ADDRESS,
            "expected the extra `cluster`, found no package distributed",
            f"pip install 'mambatalk[cluster]', or unset {ADDRESS}",
        ) from None
    try:
        _check_address(address)
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except InputError:
        raise
    except (OSError, ValueError) as error:
        raise InputError(
            ADDRESS,
            f"expected one such as tcp://host:8786, found no scheduler at {address} ({error})",
            f"start it with `dask scheduler`, or unset {ADDRESS} to work on this machine",
        ) from None
    # Cut off, these log tracebacks beside the one line.
    for name in ("distributed.client", "distributed.batched"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with client:
        _wait_for_workers(client, address)
        yield client


def _check_address(address: str) -> None:
    """Raise a ValueError where no port is named: a client would dial it for long after it gave
    up.
    """
    if urlsplit(address if "://" in address else f"tcp://{address}").port is None:
        raise ValueError("no port in it")


def _wait_for_workers(client: "Client", address: str) -> None:
    """Raise a InputError where nobody would ever begin to work."""
    try:
        client.wait_for_workers(1, timeout=CONNECT_SECONDS)
    except TimeoutError:
        raise InputError(
            ADDRESS,
            f"expected one worker at least, found a scheduler at {address} without workers",
            f"start some with `dask worker {address}`, or unset {ADDRESS}",
        ) from None
