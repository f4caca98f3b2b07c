"""Back up a team's servers, and restore them: `python -m infra.backup create|list|restore`.

A backup holds a dump of each database, a copy of the MLflow artifacts, and the list of objects in
the DVC remote. It is written to `BACKUP_URL` (default `s3://backups`), which may be a folder or a
bucket of another store (`BACKUP_ENDPOINT_URL`, and `BACKUP_ACCESS_KEY_ID` and
`BACKUP_SECRET_ACCESS_KEY` if its keys differ). PostgreSQL is found by PGHOST, PGPORT, PGUSER and
PGPASSWORD, the store by AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.

    BACKUP_URL/20261128T023000Z/{mlflow,mlflow_auth,prefect}.dump
    BACKUP_URL/20261128T023000Z/manifest.json      written last: without it, a backup does not count
    BACKUP_URL/artifacts/ETAG                      shared by all backups

Exit codes: 0 done; 1 `restore` found that objects of the DVC remote are missing; 2 bad input.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from fsspec.core import url_to_fs
from fsspec.implementations.dirfs import DirFileSystem

from mambatalk.errors import InputError
from mambatalk.files import sha256_file

OWNERS: Final = {"mlflow": "mlflow", "mlflow_auth": "mlflow", "prefect": "prefect"}
"""Databases and the roles that own them, as in `infra/settings/databases.sh`."""
MANIFEST: Final = "manifest.json"
_STAMP: Final = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True)
class Manifest:
    """What one backup holds.

    Attributes:
        stamp: Time of its start in UTC, and its folder.
        dumps: SHA-256 of each database's dump.
        artifacts: ETag of each MLflow artifact, by its key in the bucket.
        remote: Size in bytes of each object in the DVC remote, by its key in the bucket.

    """

    stamp: str
    dumps: dict[str, str]
    artifacts: dict[str, str]
    remote: dict[str, int]


def open_place(url: str, **options: str) -> DirFileSystem:
    """Return the file system of a folder or a bucket, with paths relative to it.

    Args:
        url: Such as `s3://backups` or `/mnt/backups`.
        options: Options of fsspec's file system, such as `endpoint_url` of S3.

    """
    files, root = url_to_fs(url, **options)
    if files.protocol == ("file", "local"):
        files.auto_mkdir = True
    return DirFileSystem(path=root, fs=files)


def backup_place() -> DirFileSystem:
    """Return where backups are kept."""
    url = os.environ.get("BACKUP_URL", "s3://backups")
    options = {
        "endpoint_url": os.environ.get("BACKUP_ENDPOINT_URL", ""),
        "key": os.environ.get("BACKUP_ACCESS_KEY_ID", ""),
        "secret": os.environ.get("BACKUP_SECRET_ACCESS_KEY", ""),
    }
    return open_place(url, **{key: value for key, value in options.items() if value})


def artifact_place() -> DirFileSystem:
    """Return where the MLflow server keeps artifacts.

    Raises:
        InputError: It is a folder, whose files have no ETag to name their copies by.

    """
    url = os.environ.get("MLFLOW_ARTIFACTS_DESTINATION", "s3://mlflow/artifacts")
    if not url.startswith("s3://"):
        raise InputError(
            "MLFLOW_ARTIFACTS_DESTINATION",
            f"expected a place in S3, found {url}",
            "copy that folder by other means",
        )
    return open_place(url)


def remote_place() -> DirFileSystem:
    """Return the DVC remote."""
    return open_place(os.environ.get("DVC_REMOTE_URL", "s3://dvc"))


def _listing(place: DirFileSystem) -> dict[str, dict[str, Any]]:
    place.invalidate_cache()
    found: dict[str, dict[str, Any]] = place.find("", detail=True)
    return found


def create() -> Manifest:
    """Write a backup.

    The dumps come first. Whatever a database names is then already in the store: artifacts are
    uploaded before a run ends, and objects of the DVC remote are never changed.

    Raises:
        InputError: PostgreSQL or the store does not answer, or artifacts are kept in a folder.

    """
    place = backup_place()
    artifacts_place = artifact_place()
    stamp = datetime.now(UTC).strftime(_STAMP)
    dumps = {}
    with tempfile.TemporaryDirectory() as folder:
        for database in OWNERS:
            dump = Path(folder, database)
            _run("pg_dump", "--format=custom", "--file", str(dump), "--dbname", database)
            dumps[database] = sha256_file(dump)
            place.put_file(str(dump), f"{stamp}/{database}.dump")
    artifacts = _copy_artifacts(artifacts_place, place)
    remote = {name: int(about["size"]) for name, about in _listing(remote_place()).items()}
    manifest = Manifest(stamp, dumps, artifacts, remote)
    place.write_text(f"{stamp}/{MANIFEST}", json.dumps(asdict(manifest), indent=1))
    return manifest


def _copy_artifacts(source: DirFileSystem, place: DirFileSystem) -> dict[str, str]:
    # Sizes are compared, because an interrupted copy into a folder leaves a shorter file.
    present = {name: about["size"] for name, about in _listing(place).items()}
    etags = {}
    for name, about in _listing(source).items():
        etags[name] = _etag(about)
        copy = f"artifacts/{etags[name]}"
        if present.get(copy) != about["size"]:
            _copy(source, name, place, copy)
            present[copy] = about["size"]
    return etags


def _etag(about: dict[str, Any]) -> str:
    return str(about["ETag"]).strip('"')


def _copy(source: DirFileSystem, name: str, target: DirFileSystem, new_name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        local = Path(folder, "file")
        source.get_file(name, str(local))
        target.put_file(str(local), new_name)


def manifests(place: DirFileSystem) -> list[Manifest]:
    """Return the complete backups of a place, oldest first."""
    names = sorted(name for name in _listing(place) if name.endswith(f"/{MANIFEST}"))
    return [Manifest(**json.loads(place.read_text(name))) for name in names]


def restore(stamp: str) -> list[str]:
    """Restore a backup; stop the MLflow and Prefect servers first.

    Each dump is restored into a new database, which then takes the place of the current one. The
    current one stays as `NAME_before_restore` until the next restore.

    Args:
        stamp: Stamp of the backup, or "latest".

    Returns:
        Keys of objects that the DVC remote held then and lacks now.

    Raises:
        InputError: There is no such backup, it is damaged, a database is in use, or PostgreSQL or
            the store does not answer.

    """
    place = backup_place()
    manifest = _find(place, stamp)
    _require_unused()
    with tempfile.TemporaryDirectory() as folder:
        dumps = {database: Path(folder, database) for database in OWNERS}
        for database, dump in dumps.items():
            name = f"{manifest.stamp}/{database}.dump"
            place.get_file(name, str(dump))
            if sha256_file(dump) != manifest.dumps[database]:
                raise InputError(
                    f"{place.path}/{name}",
                    "its digest is not the manifest's",
                    "restore another backup",
                )
        for database, dump in dumps.items():
            _restore_database(database, dump)
    _restore_artifacts(place, manifest)
    now = _listing(remote_place())
    return sorted(manifest.remote.keys() - now.keys())


def _find(place: DirFileSystem, stamp: str) -> Manifest:
    found = {manifest.stamp: manifest for manifest in manifests(place)}
    chosen = max(found, default="") if stamp == "latest" else stamp
    if chosen not in found:
        have = ", ".join(found) or "none"
        raise InputError(place.path, f"expected the backup {stamp}, found {have}", "choose another")
    return found[chosen]


def _require_unused() -> None:
    names = ", ".join(f"'{database}'" for database in OWNERS)
    query = f"SELECT DISTINCT datname FROM pg_stat_activity WHERE datname IN ({names})"
    used = _sql(query).split()
    if used:
        raise InputError(
            "restore",
            f"the databases {', '.join(sorted(used))} are in use",
            "stop the MLflow and Prefect servers first",
        )


def _restore_database(database: str, dump: Path) -> None:
    owner = OWNERS[database]
    new, old = f"{database}_restored", f"{database}_before_restore"
    _sql(f"DROP DATABASE IF EXISTS {new}")
    _sql(f"CREATE DATABASE {new} OWNER {owner}")
    _sql(f"REVOKE CONNECT ON DATABASE {new} FROM PUBLIC")
    _run(
        *("pg_restore", "--exit-on-error", "--single-transaction", "--no-owner"),
        *("--role", owner, "--dbname", new, str(dump)),
    )
    _sql(f"DROP DATABASE IF EXISTS {old}")
    if _sql(f"SELECT 1 FROM pg_database WHERE datname = '{database}'"):
        _sql(f"ALTER DATABASE {database} RENAME TO {old}")
    _sql(f"ALTER DATABASE {new} RENAME TO {database}")


def _restore_artifacts(place: DirFileSystem, manifest: Manifest) -> None:
    target = artifact_place()
    present = {name: _etag(about) for name, about in _listing(target).items()}
    for name, etag in manifest.artifacts.items():
        if present.get(name) != etag:
            _copy(place, f"artifacts/{etag}", target, name)


def prune(keep_days: int, *, dry_run: bool) -> list[str]:
    """Delete backups older than `keep_days`, but never the last three.

    Args:
        keep_days: Age in days up to which all backups are kept.
        dry_run: Delete nothing.

    Returns:
        Paths that were deleted, or would be with `dry_run`: folders of backups, then artifacts that
        no other backup holds.

    """
    place = backup_place()
    complete = manifests(place)
    limit = (datetime.now(UTC) - timedelta(days=keep_days)).strftime(_STAMP)
    old = [manifest for manifest in complete[:-3] if manifest.stamp < limit]
    kept = [manifest for manifest in complete if manifest not in old]
    needed = {f"artifacts/{etag}" for manifest in kept for etag in manifest.artifacts.values()}
    # A backup that is being written now may rely on the copy of any artifact that MLflow has.
    needed |= {f"artifacts/{_etag(about)}" for about in _listing(artifact_place()).values()}
    named = {f"artifacts/{etag}" for manifest in old for etag in manifest.artifacts.values()}
    unneeded = [*(manifest.stamp for manifest in old), *sorted(named - needed)]
    if not dry_run:
        for name in unneeded:
            place.rm(name, recursive=True)
    return unneeded


def _sql(statement: str) -> str:
    options = ("--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1")
    return _run("psql", *options, "--dbname", "postgres", "--command", statement).strip()


def _run(program: str, *arguments: str) -> str:
    """Run one of PostgreSQL's programs.

    Raises:
        InputError: It is not installed, or it failed.

    """
    if shutil.which(program) is None:
        raise InputError(
            program, "not found", "install PostgreSQL's client: apt-get install postgresql-client"
        )
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(
            program,
            done.stderr.strip() or f"exit code {done.returncode}",
            "check PGHOST, PGPORT, PGUSER and PGPASSWORD, and that the server runs",
        )
    return done.stdout


app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help=__doc__,
    no_args_is_help=True,
)


@app.command("create")
def create_command() -> None:
    """Write a backup."""
    manifest = create()
    sys.stdout.write(
        f"backup {manifest.stamp}: {len(manifest.dumps)} databases, "
        f"{len(manifest.artifacts)} artifacts, {len(manifest.remote)} objects in the DVC remote\n"
    )


@app.command("list")
def list_command() -> None:
    """List complete backups, oldest first."""
    for manifest in manifests(backup_place()):
        sys.stdout.write(f"{manifest.stamp}  {len(manifest.artifacts)} artifacts\n")


@app.command("restore")
def restore_command(
    stamp: Annotated[
        str, typer.Argument(help="Stamp of the backup, as `list` prints it, or latest.")
    ],
) -> None:
    """Restore a backup; stop the MLflow and Prefect servers first."""
    missing = restore(stamp)
    sys.stdout.write("restored; start the servers\n")
    if missing:
        sys.stdout.write(
            f"the DVC remote lacks {len(missing)} objects that it held then, such as {missing[0]}; "
            "`dvc push --run-cache` from a machine that has them\n"
        )
        raise typer.Exit(1)


def main() -> None:
    """Run the command line, and end the process."""
    try:
        app(prog_name="python -m infra.backup")
    except (InputError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
