"""Where the figures of a build come from: processor, commit and seed, in `runs/STAGE/origin.json`.

Outputs hold none of these, since the same build has the same bytes everywhere. The record of a
stage counts only while `dvc.lock` has its fingerprint: outputs of another machine, which DVC
restored, have no record here.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from mambatalk.files import read_json, write_json
from tasks.runtime.paths import Paths
from tasks.runtime.view import locked_fingerprints

FILE: Final = "origin.json"
MEASURED: Final = ("train_", "evaluate")
"""Prefixes of the names of the stages that determine the figures of a build."""
UNKNOWN: Final = "not recorded"
_CPU_INFO: Final = Path("/proc/cpuinfo")
_VECTORS: Final = {"avx512f": "AVX-512", "avx2": "AVX2"}
"""Vector units by flag, widest first. The last bits of sums depend on them."""


def processor() -> str:
    """Return the processor that a stage computes on, such as `AMD EPYC, AVX-512, 2 cores`."""
    cores = len(os.sched_getaffinity(0))
    lines = _CPU_INFO.read_text(encoding="utf-8").splitlines() if _CPU_INFO.exists() else []
    values = {}
    for line in lines:
        key, _, value = line.partition(":")
        values[key.strip()] = value.strip()
    flags = values.get("flags", "").split()
    vectors = next((name for flag, name in _VECTORS.items() if flag in flags), "")
    count = f"{cores} core" if cores == 1 else f"{cores} cores"
    return ", ".join(filter(None, (values.get("model name", "unknown processor"), vectors, count)))


def write_origin(folder: Path, fingerprint: str, tags: Mapping[str, str]) -> None:
    """Record where a finished stage ran.

    Args:
        folder: The stage's run folder, `runs/STAGE`.
        fingerprint: The stage's fingerprint.
        tags: Tags of its MLflow run.

    """
    write_json(folder / FILE, {**tags, "fingerprint": fingerprint})


def origin_of_build(root: Path) -> dict[str, str]:
    """Return processor, commit and seed of the trainings and the evaluation of a build.

    Args:
        root: Root of the checkout.

    Returns:
        A text for each of "processor", "commit" and "seed": several values, if the stages differ,
        and `UNKNOWN` among them, if a stage has no record.

    """
    paths = Paths(root)
    records: list[dict[str, Any]] = []
    for stage, fingerprint in locked_fingerprints(root / "dvc.lock").items():
        if stage.startswith(MEASURED):
            path = paths.run_folder(stage) / FILE
            record = read_json(path) if path.is_file() else {}
            records.append(record if record.get("fingerprint") == fingerprint else {})
    return {
        "processor": _joined(record.get("processor") for record in records),
        "commit": _joined(_commit(record) for record in records),
        "seed": _joined(record.get("seed") for record in records),
    }


def _commit(record: Mapping[str, str]) -> str | None:
    commit = record.get("git_commit")
    if commit is None:
        return None
    return f"{commit[:7]} with changes" if record.get("git_dirty") == "true" else commit[:7]


def _joined(values: Iterable[str | None]) -> str:
    return " and ".join(dict.fromkeys(value or UNKNOWN for value in values)) or UNKNOWN
