"""The report's facts about the data and the origin of a build."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pandas

from mambatalk.config import Config
from mambatalk.files import read_json
from mambatalk.quality.rules.catalogue import clip_rules, feature_rules
from mambatalk.quality.rules.rule import Rule
from tasks.runtime.origin import origin_of_build
from tasks.runtime.paths import Paths

CODE: Final = ("mambatalk", "tasks", "dvc.yaml", "params.yaml")


def facts(config: Config, paths: Paths) -> dict[str, Any]:
    """Collect the facts about data and origin that the page shows."""
    manifest = pandas.read_parquet(paths.clips / "manifest.parquet")
    verdict = read_json(paths.accepted)
    features = read_json(paths.features / "features.json")
    accepted = manifest[manifest["clip_id"].isin(verdict["accepted"])]
    speakers = sorted(set(zip(accepted["speaker"], accepted["name"], strict=True)))
    return {
        "commit": _git(paths.root, "rev-parse", "HEAD"),
        "origin": origin_of_build(paths.root),
        "changed": bool(_git(paths.root, "status", "--porcelain", "--", *CODE)),
        "fidelity": config.fidelity,
        "sample": config.sample_corpus.enabled,
        "snapshot": read_json(paths.resolve(config.ingest.snapshot))["digest"],
        "bundle": read_json(paths.bundle / "bundle.json")["digest"],
        "clips": len(accepted),
        "all_clips": len(manifest),
        "minutes": float(accepted["motion_seconds"].sum()) / 60,
        "speakers": [f"{speaker} {name}" for speaker, name in speakers],
        "splits": _splits(accepted, features["splits"]),
        "words": features["words"],
        "notes": features["notes"],
        "body": features["body"],
        "quarantined": verdict["quarantined"],
        "checks": [
            _check(paths, "clips", "Clips as recorded", clip_rules(config.check_clips)),
            _check(paths, "features", "Features", feature_rules(config.check_features)),
        ],
    }


def _splits(accepted: pandas.DataFrame, used: dict[str, int]) -> list[tuple[str, int, int]]:
    """Return for each split the clips the corpus assigns to it and the clips used for it.

    They differ if the corpus has no validation split and one is taken from the training split.
    """
    marked = accepted["split"].value_counts()
    return [
        (split, int(marked.get(split, 0)), used.get(split, 0))
        for split in ("train", "val", "test", "additional")
    ]


def _check(paths: Paths, name: str, title: str, rules: Sequence[Rule]) -> dict[str, Any]:
    """Return the numbers of a check with its rules, broken rules first."""
    verdict = read_json(paths.metrics / f"check_{name}.json")
    counted = [(rule, verdict["broken"].get(rule.name, 0)) for rule in rules]
    return {
        **verdict,
        "title": title,
        "link": f"data_docs/{name}/index.html",
        "rules": sorted(counted, key=lambda pair: pair[1] == 0),
    }


def _git(root: Path, *arguments: str) -> str:
    """Return git's output; empty if there is no git or no commit."""
    result = subprocess.run(
        ["git", *arguments], capture_output=True, text=True, check=False, cwd=root
    )
    return result.stdout.strip() if result.returncode == 0 else ""
