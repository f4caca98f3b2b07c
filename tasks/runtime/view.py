"""What `dvc.yaml` declares for one stage, read through DVC: its parameters and its fingerprint.

A stage cannot read a parameter that `dvc.yaml` does not declare for it: DVC would not rerun the
stage when that value changes. The fingerprint is computed from the same hashes that DVC writes to
`dvc.lock`, so the MLflow run of a stage that DVC skipped is found by its entry there.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ruamel.yaml import YAML

from mambatalk.errors import InputError
from mambatalk.files import digest
from tasks.runtime.links import CacheLink, cache_links

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class StageView:
    """The current state of one stage, as DVC computes it."""

    params: tuple[str, ...]
    """Dotted keys of `params.yaml` that the stage declares."""
    fingerprint: str
    """Digest of the command, the declared parameters' values, and the md5 of all dependencies."""
    outputs: tuple[Path, ...]
    """Absolute paths of the files and folders that the stage writes."""
    links: tuple[CacheLink, ...]
    """Files that the stage reads and that are links into DVC's cache."""


def stage_view(stage: str, *, root: str | Path = ".") -> StageView:
    """Read one stage of `dvc.yaml` and hash its dependencies.

    Args:
        stage: Name of the stage, "train_vq@face" for a stage of a matrix.
        root: Folder of `dvc.yaml`.

    Raises:
        InputError: `dvc.yaml` has no such stage, or a dependency is missing.

    """
    from dvc.dependency import ParamsDependency
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc.stage.serialize import to_single_stage_lockfile

    try:
        with Repo(str(root)) as repo:
            # With the path of the file, because DVC looks for it in the working directory.
            (found,) = repo.stage.collect(f"{Path(root) / 'dvc.yaml'}:{stage}")
            found.save_deps()
            entry = to_single_stage_lockfile(found)
            links = tuple(cache_links(found))
    except DvcException as error:
        raise InputError(
            f"stage {stage}",
            f"expected a stage of dvc.yaml whose dependencies exist, found {error}",
            "run `dvc repro` in the repository root",
        ) from error
    params = [key for dep in found.deps if isinstance(dep, ParamsDependency) for key in dep.params]
    return StageView(
        params=tuple(params),
        fingerprint=_fingerprint(entry),
        outputs=tuple(Path(out.fs_path) for out in found.outs),
        links=links,
    )


def locked_fingerprints(lock: str | Path = "dvc.lock") -> dict[str, str]:
    """Return the fingerprint of every stage in `dvc.lock`, by name; empty if there is no file."""
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
    """Placeholder for a parameter that the stage does not declare; every attribute raises."""

    key: str

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"{self.key} is read (.{name}), but dvc.yaml does not name it among the stage's params"
        )


def restrict(config: T, declared: Iterable[str], *, prefix: str = "") -> T:
    """Return a copy of the configuration that can be read only where declared.

    Args:
        config: A section of the configuration, or all of it.
        declared: Dotted keys, such as "seed" or "train_vq.common".
        prefix: Dotted key of `config` itself with a final dot; empty for all of it.

    Returns:
        The copy. Undeclared sections and scalars are replaced by an object whose attributes raise.

    """
    keys = tuple(declared)
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(config):  # type: ignore[arg-type]
        # A field `global_` is the key `global`, which is a keyword of Python.
        key = prefix + field.name.rstrip("_")
        if key in keys:
            continue
        if any(other.startswith(key + ".") for other in keys):
            changes[field.name] = restrict(getattr(config, field.name), keys, prefix=key + ".")
        else:
            changes[field.name] = _Undeclared(key)
    return dataclasses.replace(config, **changes)  # type: ignore[type-var]
