"""What `dvc.yaml` says of one stage, read through DVC itself: its parameters, and the fingerprint
of all it reads.

A stage sees no parameter that `dvc.yaml` does not name for it, so that a result never hangs on a
value whose change would go unnoticed. The fingerprint is computed from the same hashes that DVC
writes to `dvc.lock`; a stage that DVC skipped is thus found again by the entry it left there.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ruamel.yaml import YAML

from mambatalk.errors import InputError
from mambatalk.files import digest

T = TypeVar("T")
PARAMS = "params.yaml"


@dataclass(frozen=True, kw_only=True)
class StageView:
    """One stage as DVC sees it now."""

    params: tuple[str, ...]
    """Dotted keys of `params.yaml` that the stage declares."""
    fingerprint: str
    """Digest of the command, the declared parameters' values, and the md5 of code and data the
    stage reads.
    """


def stage_view(stage: str, *, root: str | Path = ".") -> StageView:
    """Read one stage of `dvc.yaml` ("train_vq@face" for a stage of a matrix) and hash what it
    depends on.

    Raises:
        InputError: `dvc.yaml` has no such stage, or something it reads is missing.

    """
    from dvc.dependency import ParamsDependency
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc.stage.serialize import to_single_stage_lockfile

    try:
        with Repo(str(root)) as repo:
            (found,) = repo.stage.collect(stage)
            found.save_deps()
            params = [
                key for dep in found.deps if isinstance(dep, ParamsDependency) for key in dep.params
            ]
            return StageView(
                params=tuple(params), fingerprint=_fingerprint(to_single_stage_lockfile(found))
            )
    except DvcException as error:
        raise InputError(
            f"stage {stage}",
            f"expected a stage of dvc.yaml whose inputs exist, found {error}",
            "run `dvc repro` from the repository root",
        ) from error


def locked_fingerprints(lock: str | Path = "dvc.lock") -> dict[str, str]:
    """Fingerprint of every stage that has run, by name, from `dvc.lock`; empty where there is
    none.
    """
    path = Path(lock)
    if not path.exists():
        return {}
    entries = YAML(typ="safe", pure=True).load(path)["stages"]
    return {name: _fingerprint(entry) for name, entry in entries.items()}


def _fingerprint(entry: Mapping[str, Any]) -> str:
    return digest(
        {
            "cmd": entry["cmd"],
            "deps": {dep["path"]: dep["md5"] for dep in entry.get("deps", ())},
            "params": {path: dict(values) for path, values in entry.get("params", {}).items()},
        }
    )


@dataclass(frozen=True)
class _Undeclared:
    """Stands where a parameter is that the stage does not declare; reading from it is a mistake in
    the graph.
    """

    key: str

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"{self.key} is read (.{name}), but dvc.yaml does not name it among the stage's params"
        )


def restrict(config: T, declared: Iterable[str], *, prefix: str = "") -> T:
    """`config` with every section and field outside `declared` (dotted keys) replaced by one that
    refuses to be read.

    Scalars at the top level that are not declared become such a guard too: using one as a number
    fails.
    """
    keys = tuple(declared)
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(config):  # type: ignore[arg-type]
        key = prefix + field.name.rstrip("_")
        if key in keys:
            continue
        if any(other.startswith(key + ".") for other in keys):
            changes[field.name] = restrict(getattr(config, field.name), keys, prefix=key + ".")
        else:
            changes[field.name] = _Undeclared(key)
    return dataclasses.replace(config, **changes)  # type: ignore[type-var]
