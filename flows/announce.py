"""Announce a snapshot, which starts a retraining: `python -m flows.announce SNAPSHOT`.

Emits the event `mambatalk.snapshot.created` to the Prefect server; the deployment `retrain` of
infra/prefect.yaml waits for it. Commit the snapshot first: a retraining builds what git has.
"""

from pathlib import Path
from typing import Annotated, Final

import typer
from prefect.events import emit_event
from prefect.events.worker import EventsWorker
from prefect.settings import get_current_settings

from mambatalk.corpus.snapshot import read_snapshot
from mambatalk.errors import InputError
from tasks.runtime.command import run_command

EVENT: Final = "mambatalk.snapshot.created"


def announce(snapshot: Path) -> str:
    """Emit the event of a snapshot.

    Args:
        snapshot: File that `mambatalk snapshot` has written.

    Returns:
        Digest of the snapshot.

    Raises:
        InputError: No server is set, or the file is not a snapshot.

    """
    if not get_current_settings().api.url:
        raise InputError(
            "PREFECT_API_URL",
            "expected the address of a Prefect server, found none",
            "set it, for example to http://127.0.0.1:4200/api",
        )
    content = read_snapshot(snapshot)
    digest = str(content["digest"])
    emit_event(
        EVENT,
        resource={
            "prefect.resource.id": f"mambatalk.snapshot.{digest}",
            "prefect.resource.name": snapshot.name,
        },
        payload={"digest": digest, "files": len(content["files"])},
    )
    # Events are sent by a thread, which ends with this process: wait until it has sent them.
    EventsWorker.instance().drain()
    return digest


def _command(
    snapshot: Annotated[Path, typer.Argument(help="Snapshot of a corpus.")],
) -> None:
    typer.echo(f"announced snapshot {announce(snapshot)}")


if __name__ == "__main__":
    run_command(_command, "flows.announce", __doc__)
