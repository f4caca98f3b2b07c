"""Stop a run that was cancelled, or given to another process, even if no worker says so.

A worker passes a cancellation on to the run's process. A worker that lost its server for a while no
longer does so (Prefect 3.8), and one that was killed cannot. Therefore the run polls its own state,
and stops its commands, which write a checkpoint at SIGTERM.
"""

import contextvars
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import httpx
from prefect import get_client
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

from flows.commands import ProcessGroup

POLL_SECONDS: Final = float(os.environ.get("MAMBATALK_STATE_SECONDS", "60"))
_STOPPED: Final = (StateType.CANCELLING, StateType.CANCELLED)
_OWN: Final = (StateType.RUNNING, StateType.PAUSED)


@dataclass
class Watch:
    """Why the commands of a run were stopped, if they were."""

    cancelled: bool = False
    """A person or an automation has cancelled the run."""
    replaced: bool = False
    """The run was declared crashed, and another process has it or may take it."""


@contextmanager
def stop_when_cancelled(own: FlowRun, group: ProcessGroup) -> Iterator[Watch]:
    """Poll the state of a flow run, and stop its commands when it is cancelled or replaced.

    Args:
        own: The run of this process, as it began.
        group: Its commands.

    """
    watch = Watch()
    ended = threading.Event()

    def poll() -> None:
        while not ended.wait(POLL_SECONDS):
            run = _read_run(own.id)
            if run is None or run.state is None:
                continue
            watch.cancelled = run.state.type in _STOPPED
            watch.replaced = not watch.cancelled and (
                run.state.type not in _OWN or run.run_count != own.run_count
            )
            if watch.cancelled or watch.replaced:
                group.stop()
                return

    # With a copy of the context: a new thread lacks the settings of the run, such as the server's
    # address.
    thread = threading.Thread(target=contextvars.copy_context().run, args=(poll,), daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        ended.set()


def _read_run(run_id: UUID) -> FlowRun | None:
    """Return a flow run, or None while the server does not answer."""
    try:
        with get_client(sync_client=True) as client:
            return client.read_flow_run(run_id)
    except (httpx.HTTPError, PrefectHTTPStatusError, ObjectNotFound, RuntimeError):
        return None
