"""Faults of servers, disks and the clock, one function each.

Full disks and a read-only checkout are mounts (a tmpfs of a few megabytes, a bind mount) in a user
and mount namespace of the command's own, so no rights are needed and nothing outside changes.
"""

import os
import random
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.request import urlopen

from tasks.tools.chaos.build import PYTHON, REPRO, STAGE, Build, Ended, Row

_NAMESPACE: Final = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c")
_SMALL_DISK: Final = 'mount -t tmpfs -o size="$1" none "$0" && shift && exec "$@"'
_READ_ONLY: Final = (
    'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && cd "$0" && exec "$@"'
)
_FAKETIME: Final = "faketime/libfaketime.so.1"
_WAIT_SECONDS: Final = 120.0
_STAGE: Final = "train_vq@face"
_STARTED: Final = r"^> exec python"
_STAGE_AT_WORK: Final = r"^train_vq@face: epoch"

Fault = Callable[[Build, str], Row]
"""Called with a complete build and its `dvc.lock`; leaves the build complete."""


def mlflow_away_at_the_start(build: Build, reference: str) -> Row:
    """Run a stage with the address of a server that is not there."""
    address = f"http://127.0.0.1:{_free_port()}"
    ended = build.stage("encode_codes", MLFLOW_TRACKING_URI=address)
    return build.judge(
        "MLflow away at the start", ended, reference=reference, says="MLflow", fails=False
    )


def mlflow_away_in_the_middle(build: Build, reference: str) -> Row:
    """Kill MLflow's server when the run of a training has begun."""
    return _mlflow_killed(build, reference, "MLflow killed in the middle", _STARTED)


def mlflow_away_at_the_end(build: Build, reference: str) -> Row:
    """Kill MLflow's server when a training has made its last step."""
    return _mlflow_killed(build, reference, "MLflow killed at the end", _STAGE_AT_WORK)


def _mlflow_killed(build: Build, reference: str, fault: str, at: str) -> Row:
    port = _free_port()
    store = build.folder / "server.db"
    # Without the workers of jobs, which MLflow starts for pages that are not used here.
    with _server(
        build,
        [*PYTHON, "mlflow", "server", "--host", "127.0.0.1", "--workers", "1"],
        port,
        "/health",
        MLFLOW_BACKEND_STORE_URI=f"sqlite:///{store}",
        MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false",
    ) as kill:
        before = _runs(store)

        def kill_in_run() -> None:
            _wait_until(lambda: _runs(store) > before)
            kill()

        ended = build.stage(
            _STAGE, at=at, then=kill_in_run, MLFLOW_TRACKING_URI=f"http://127.0.0.1:{port}"
        )
    return build.judge(fault, ended, reference=reference, says="MLflow", fails=False)


def prefect_away(build: Build, reference: str) -> Row:
    """Kill Prefect's server while a flow runs a stage."""
    port = _free_port()
    params = build.root / "params.yaml"
    before = params.read_text(encoding="utf-8")
    # A value that no earlier run had, so that DVC does not restore the stage.
    value = f"max_unknown_words: {random.uniform(0.5, 0.9)}"
    params.write_text(before.replace("max_unknown_words: 0.5", value), encoding="utf-8")
    with _server(
        build,
        [*PYTHON, "prefect", "server", "start", "--host", "127.0.0.1"],
        port,
        "/api/health",
    ) as kill:
        ended = build.run(
            [*PYTHON, "flows.build", "--target", "check_features"],
            at="Running stage",
            then=kill,
            PREFECT_API_URL=f"http://127.0.0.1:{port}/api",
            # By default five, for each of several requests: a run then takes minutes to give up.
            PREFECT_CLIENT_MAX_RETRIES="1",
        )
    params.write_text(before, encoding="utf-8")
    return build.judge(
        "Prefect's server killed in a run",
        ended,
        reference=reference,
        says="^build: Prefect's server",
        fails=True,
        tracebacks=True,
    )


def full_disk_in_data(build: Build, reference: str) -> Row:
    """Run `prepare` with 3 MB in `data/`."""
    ended = _on_small_disk(build, build.root / "data", "3m", "prepare")
    return build.judge(
        "disk full in data/", ended, reference=reference, says="full disk", fails=True
    )


def full_disk_in_home(build: Build, reference: str) -> Row:
    """Run a training with 300 kB in `MAMBATALK_HOME`, less than MLflow's database takes."""
    ended = _on_small_disk(build, build.home, "300k", _STAGE)
    return build.judge(
        "disk full in MAMBATALK_HOME", ended, reference=reference, says="MLflow", fails=False
    )


def full_disk_in_cache(build: Build, reference: str) -> Row:
    """Run `features` with 1 MB in DVC's cache."""
    ended = _on_small_disk(build, build.root / ".dvc/cache", "1m", "features")
    return build.judge(
        "disk full in DVC's cache", ended, reference=reference, says="not every output", fails=True
    )


def _on_small_disk(build: Build, folder: Path, size: str, stage: str) -> Ended:
    return build.run([*_NAMESPACE, _SMALL_DISK, str(folder), size, *STAGE, stage])


def two_builds_at_once(build: Build, reference: str) -> Row:
    """Start a second `dvc repro` while the first one runs the same stage."""
    second = []
    first = build.stage(
        _STAGE,
        at=_STARTED,
        then=lambda: second.append(build.stage(_STAGE)),
    )
    row = build.judge(
        "two `dvc repro` at once", second[0], reference=reference, says="busy|running", fails=True
    )
    problems = ("the first build failed",) if first.code else ()
    return Row(row.fault, row.seen, (*problems, *row.problems))


def read_only_checkout(build: Build, reference: str) -> Row:
    """Run a complete build again where the checkout is mounted read-only."""
    ended = build.run([*_NAMESPACE, _READ_ONLY, str(build.root), *REPRO])
    return build.judge(
        "read-only checkout", ended, reference=reference, says="[Rr]ead-only", fails=True
    )


def jumping_clock(build: Build, reference: str) -> Row:
    """Run a training a day in the past, and set its clock two days into the future at its end."""
    library = next(Path("/usr/lib").glob(f"*/{_FAKETIME}"), None)
    if library is None:
        return Row("a clock that jumps", "not tried: libfaketime is not installed")
    clock = build.folder / "clock"
    clock.write_text("-1d")

    def jump() -> None:
        clock.write_text("+2d")

    ended = build.stage(
        _STAGE,
        at=_STAGE_AT_WORK,
        then=jump,
        LD_PRELOAD=str(library),
        FAKETIME_TIMESTAMP_FILE=str(clock),
        FAKETIME_NO_CACHE="1",
        FAKETIME_DONT_FAKE_MONOTONIC="1",
    )
    return build.judge(
        "a clock that jumps", ended, reference=reference, says=_STAGE_AT_WORK, fails=False
    )


FAULTS: Final[tuple[Fault, ...]] = (
    mlflow_away_at_the_start,
    mlflow_away_in_the_middle,
    mlflow_away_at_the_end,
    prefect_away,
    full_disk_in_data,
    full_disk_in_home,
    full_disk_in_cache,
    two_builds_at_once,
    read_only_checkout,
    jumping_clock,
)


@contextmanager
def _server(
    build: Build, command: list[str], port: int, health: str, **variables: str
) -> Iterator[Callable[[], None]]:
    """Run a server for the length of the block; yields a function that kills it."""
    process = subprocess.Popen(
        [*command, "--port", str(port)],
        cwd=build.folder,
        env=build.environment(variables),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )

    def kill() -> None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    try:
        _wait_until(lambda: _answers(f"http://127.0.0.1:{port}{health}"))
        yield kill
    finally:
        kill()
        process.wait()


def _wait_until(condition: Callable[[], object]) -> None:
    """Wait until a condition holds, for `_WAIT_SECONDS` at most."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)


def _runs(store: Path) -> int:
    """Return the number of runs in MLflow's database."""
    with closing(sqlite3.connect(store)) as database:
        return int(database.execute("select count(*) from runs").fetchone()[0])


def _answers(address: str) -> bool:
    with suppress(OSError), urlopen(address, timeout=10):
        return True
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
