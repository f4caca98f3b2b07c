"""The servers of a team on loopback: PostgreSQL, MLflow and Prefect on it, and an S3 store.

They run with the settings of `infra/settings`, which Docker Compose and Kubernetes use as well, on
free ports, with passwords made for the test, and end with the block that started them:

    with running_servers(folder) as servers:
        subprocess.run([...], env={**os.environ, **servers.environment})
        servers.prefect.stop()
        servers.prefect.start()

A server keeps its port and its data over a restart. The S3 store keeps objects in memory, so it is
made unreachable instead: `servers.store.down()` and `.up()`.
"""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import urlopen

import pytest

from tasks.runtime.processes import terminate_with_parent
from tests.helpers.mlflow_server import Server as Relay

ROOT = Path(__file__).parents[2]
SETTINGS = ROOT / "infra" / "settings"
START_SECONDS = 300
"""A server that starts in 5 s alone took 35 s on a loaded machine with two processors."""


def read_settings(name: str) -> dict[str, str]:
    """Return the variables of a file in `infra/settings`."""
    lines = (SETTINGS / name).read_text(encoding="utf-8").splitlines()
    pairs = [line.split("=", 1) for line in lines if line and not line.startswith("#")]
    return dict(pairs)


def clean_environment() -> dict[str, str]:
    """Return this process' environment without what would redirect a server or a client."""
    prefixes = ("MLFLOW_", "PREFECT_", "PG", "AWS_", "POSTGRES_")
    return {key: value for key, value in os.environ.items() if not key.startswith(prefixes)}


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class ServerFailedError(Exception):
    """A server ended, or did not answer in time; the text is its log."""


@dataclass
class Service:
    """One server process, which keeps its port and data over restarts.

    Args:
        name: Of the log file as well.
        command: Starts the server in the foreground.
        environment: Of the process, complete.
        port: On 127.0.0.1.
        folder: Holds the log `NAME.log`.
        answers: Returns whether the server does its work; may raise OSError.
        user: Account of the process; None is the one of the tests.
        stop_signal: Asks the server to shut down.

    """

    name: str
    command: list[str]
    environment: Mapping[str, str]
    port: int
    folder: Path
    answers: Callable[[], bool]
    user: str | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    _process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self.folder / f"{self.name}.log").read_text(errors="replace")

    @property
    def pid(self) -> int:
        assert self._process, f"{self.name} is not running"
        return self._process.pid

    def launch(self) -> None:
        """Start the process without waiting until it answers."""
        assert self._process is None, f"{self.name} is running"
        account = {"user": self.user, "group": self.user, "extra_groups": []} if self.user else {}
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                # pytest-xdist kills its processes at Ctrl-C before their fixtures have ended.
                preexec_fn=terminate_with_parent,
                cwd="/" if self.user else self.folder,
                **account,  # type: ignore[call-overload]
            )

    def wait(self) -> None:
        """Wait until the server answers.

        Raises:
            ServerFailedError: It ended, or did not answer within START_SECONDS.

        """
        assert self._process, f"{self.name} is not running"
        pause = threading.Event()
        for _ in range(START_SECONDS * 2):
            if self._process.poll() is not None:
                break
            with suppress(OSError):
                if self.answers():
                    return
            pause.wait(0.5)
        raise ServerFailedError(f"{self.name}:\n{self.log[-4000:]}")

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self.launch()
        self.wait()

    def stop(self, seconds: float = 30) -> None:
        """Ask the server to shut down, then kill what is left of its processes."""
        if self._process is None:
            return
        self._process.send_signal(self.stop_signal)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        self.kill()

    def kill(self) -> None:
        """Kill the server and every process of its session, as a crash of the machine would."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(60)
        self._process = None


@dataclass(frozen=True)
class Servers:
    """A team's servers, all on loopback.

    Attributes:
        folder: Logs, the home of the Prefect server, and the home of clients.
        secrets: The variables with passwords, named as in `infra/compose/.env.example`.
        store: The S3 store; its buckets are `dvc`, `mlflow` and `backups`.

    """

    folder: Path
    secrets: Mapping[str, str]
    postgres: Service
    mlflow: Service
    prefect: Service
    store: Relay

    @property
    def database(self) -> dict[str, str]:
        """Variables with which PostgreSQL's programs reach the server as its administrator."""
        return {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.postgres.port),
            "PGUSER": "postgres",
            "PGPASSWORD": self.secrets["POSTGRES_PASSWORD"],
        }

    @property
    def environment(self) -> dict[str, str]:
        """Variables of a worker, or of a person who uses the servers."""
        return {
            **read_settings("worker.env"),
            **store_keys(self.secrets),
            "AWS_ENDPOINT_URL": self.store.uri,
            "MLFLOW_TRACKING_URI": self.mlflow.address,
            "MLFLOW_TRACKING_USERNAME": self.mlflow.environment["MLFLOW_AUTH_ADMIN_USERNAME"],
            "MLFLOW_TRACKING_PASSWORD": self.secrets["MLFLOW_AUTH_ADMIN_PASSWORD"],
            "PREFECT_API_URL": f"{self.prefect.address}/api",
            "PREFECT_API_AUTH_STRING": f"admin:{self.secrets['PREFECT_ADMIN_PASSWORD']}",
            "PREFECT_HOME": str(self.folder / "client"),
        }


def store_keys(passwords: Mapping[str, str]) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": passwords["S3_ACCESS_KEY"],
        "AWS_SECRET_ACCESS_KEY": passwords["S3_SECRET_KEY"],
        "AWS_DEFAULT_REGION": "us-east-1",
    }


@contextmanager
def running_servers(folder: Path) -> Iterator[Servers]:
    """Run all servers for the length of the block.

    Args:
        folder: An existing folder for logs and for the state of Prefect.

    """
    passwords = new_passwords()
    with ExitStack() as stack:
        postgres = stack.enter_context(running_postgres(folder, passwords))
        store = s3_service(folder)
        stack.callback(store.kill)
        store.launch()
        prefect = prefect_service(folder, postgres.port, passwords)
        stack.callback(prefect.stop, 10)
        prefect.launch()
        store.wait()
        make_buckets(store.address, passwords)
        mlflow = mlflow_service(folder, postgres.port, store.address, passwords)
        stack.callback(mlflow.stop, 10)
        mlflow.launch()
        prefect.wait()
        mlflow.wait()
        relay = Relay(store.port)
        stack.callback(relay.down)
        yield Servers(folder, passwords, postgres, mlflow, prefect, relay)


def new_passwords() -> dict[str, str]:
    """Make the secrets of `infra/compose/.env.example`."""
    names = (
        "POSTGRES_PASSWORD",
        "MLFLOW_DB_PASSWORD",
        "PREFECT_DB_PASSWORD",
        "MLFLOW_AUTH_ADMIN_PASSWORD",
        "MLFLOW_FLASK_SERVER_SECRET_KEY",
        "PREFECT_ADMIN_PASSWORD",
        "S3_ACCESS_KEY",
        "S3_SECRET_KEY",
    )
    return {name: secrets.token_hex(16) for name in names}


def postgres_program(name: str) -> str:
    """Return the path of a program of PostgreSQL; Debian keeps the server's outside PATH."""
    installed = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    found = str(installed[-1]) if installed else shutil.which(name)
    if found is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    return found


@contextmanager
def running_postgres(folder: Path, passwords: Mapping[str, str]) -> Iterator[Service]:
    """Run a new PostgreSQL server with the databases of MLflow and Prefect.

    The server refuses to run as root; the account `postgres` of Debian's package runs it then.
    """
    user = "postgres" if os.geteuid() == 0 else None
    # Outside the test's folder, which another account cannot enter.
    data = Path(tempfile.mkdtemp(prefix="mambatalk-postgres-"))
    try:
        password = data / "password"
        password.write_text(passwords["POSTGRES_PASSWORD"])
        if user:
            account = pwd.getpwnam(user)
            os.chown(data, account.pw_uid, account.pw_gid)
            os.chown(password, account.pw_uid, account.pw_gid)
        service = _postgres_service(folder, data, user)
        try:
            service.start()
            _create_databases(service.port, passwords)
            yield service
        finally:
            service.stop()
    finally:
        shutil.rmtree(data)


def _postgres_service(folder: Path, data: Path, user: str | None) -> Service:
    account = {"user": user, "group": user, "extra_groups": []} if user else {}
    subprocess.run(
        [
            *(postgres_program("initdb"), "--pgdata", str(data / "cluster"), "--no-sync"),
            *("--username", "postgres", "--auth", "scram-sha-256", "--encoding", "UTF8"),
            *("--locale", "C.UTF-8", "--pwfile", str(data / "password")),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        cwd="/",
        env=clean_environment(),
        **account,  # type: ignore[call-overload]
    )
    port = free_port()
    command = [postgres_program("postgres"), "-D", str(data / "cluster"), "-p", str(port)]
    for setting in (
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "fsync=off",
        "max_connections=200",
    ):
        command += ["-c", setting]
    ready = [postgres_program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
    return Service(
        name="postgres",
        command=command,
        environment=clean_environment(),
        port=port,
        folder=folder,
        answers=lambda: subprocess.run(ready, check=False).returncode == 0,
        user=user,
        # Fast shutdown: open connections are ended.
        stop_signal=signal.SIGINT,
    )


def _create_databases(port: int, passwords: Mapping[str, str]) -> None:
    environment = {
        **clean_environment(),
        **passwords,
        "PGHOST": "127.0.0.1",
        "PGPORT": str(port),
        "PGPASSWORD": passwords["POSTGRES_PASSWORD"],
    }
    subprocess.run([str(SETTINGS / "databases.sh")], env=environment, check=True)


def mlflow_service(
    folder: Path, database_port: int, store: str, passwords: Mapping[str, str]
) -> Service:
    """Describe an MLflow server with authentication, its artifacts in an S3 store."""
    port = free_port()
    environment = {
        **clean_environment(),
        **read_settings("mlflow.env"),
        **store_keys(passwords),
        "PGHOST": "127.0.0.1",
        "PGPORT": str(database_port),
        "PGPASSWORD": passwords["MLFLOW_DB_PASSWORD"],
        "MLFLOW_HOST": "127.0.0.1",
        "MLFLOW_PORT": str(port),
        "AWS_ENDPOINT_URL": store,
        "MLFLOW_AUTH_CONFIG_PATH": str(SETTINGS / "mlflow-auth.ini"),
        "MLFLOW_AUTH_ADMIN_PASSWORD": passwords["MLFLOW_AUTH_ADMIN_PASSWORD"],
        "MLFLOW_FLASK_SERVER_SECRET_KEY": passwords["MLFLOW_FLASK_SERVER_SECRET_KEY"],
    }
    command = [sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth"]
    return Service(
        name="mlflow",
        command=command,
        environment=environment,
        port=port,
        folder=folder,
        answers=lambda: probe("mlflow", environment),
    )


def prefect_service(folder: Path, database_port: int, passwords: Mapping[str, str]) -> Service:
    """Describe a Prefect server with basic authentication that keeps leases in its home."""
    port = free_port()
    environment = {
        **clean_environment(),
        **read_settings("prefect.env"),
        "PREFECT_HOME": str(folder / "prefect-server"),
        "PREFECT_SERVER_API_HOST": "127.0.0.1",
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_API_AUTH_STRING": f"admin:{passwords['PREFECT_ADMIN_PASSWORD']}",
        "PREFECT_SERVER_DATABASE_HOST": "127.0.0.1",
        "PREFECT_SERVER_DATABASE_PORT": str(database_port),
        "PREFECT_SERVER_DATABASE_PASSWORD": passwords["PREFECT_DB_PASSWORD"],
    }
    return Service(
        name="prefect",
        command=[sys.executable, "-m", "prefect", "server", "start"],
        environment=environment,
        port=port,
        folder=folder,
        answers=lambda: probe("prefect", environment),
    )


def probe(server: str, environment: Mapping[str, str]) -> bool:
    """Return whether a server passes the health check of Docker Compose and Kubernetes."""
    command = [sys.executable, "-S", str(SETTINGS / "probe.py"), server]
    return subprocess.run(command, env=environment, capture_output=True).returncode == 0


def s3_service(folder: Path) -> Service:
    """Describe an S3 store that keeps its objects in memory and accepts any key."""
    port = free_port()
    program = Path(sys.executable).with_name("moto_server")

    def answers() -> bool:
        with urlopen(f"http://127.0.0.1:{port}/moto-api/", timeout=10):
            return True

    return Service(
        name="store",
        command=[str(program), "-H", "127.0.0.1", "-p", str(port)],
        environment=clean_environment(),
        port=port,
        folder=folder,
        answers=answers,
    )


def make_buckets(store: str, passwords: Mapping[str, str]) -> None:
    environment = {**clean_environment(), **store_keys(passwords), "AWS_ENDPOINT_URL": store}
    command = [sys.executable, str(SETTINGS / "buckets.py")]
    subprocess.run(command, env=environment, check=True)
