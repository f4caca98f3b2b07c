"""What the report says about data and origin: corpus, clips, rules, notices, commit."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pandas

from mambatalk.config import Config
from mambatalk.files import read_json
from mambatalk.quality.rules import Rule, clip_rules, feature_rules
from tasks.runtime.paths import ACCEPTED, BUNDLE, CLIPS, FEATURES, METRICS

CODE: Final = ("mambatalk", "tasks", "dvc.yaml", "params.yaml")


def facts(config: Config) -> dict[str, Any]:
    """Everything about data and origin that the page shows."""
    manifest = pandas.read_parquet(CLIPS / "manifest.parquet")
    verdict, features = read_json(ACCEPTED), read_json(FEATURES / "features.json")
    taken = manifest[manifest["clip_id"].isin(verdict["accepted"])]
    return {
        "commit": _git("rev-parse", "HEAD"),
        "changed": bool(_git("status", "--porcelain", "--", *CODE)),
        "seed": config.seed,
        "fidelity": config.fidelity,
        "sample": config.sample_corpus.enabled,
        "snapshot": read_json(config.ingest.snapshot)["digest"],
        "bundle": read_json(BUNDLE / "bundle.json")["digest"],
        "clips": len(taken),
        "all_clips": len(manifest),
        "minutes": float(taken["motion_seconds"].sum()) / 60,
        "speakers": [
            f"{speaker} {name}"
            for speaker, name in sorted(set(zip(taken["speaker"], taken["name"], strict=True)))
        ],
        "splits": _splits(taken, features["splits"]),
        "words": features["words"],
        "notes": features["notes"],
        "body": features["body"],
        "quarantined": verdict["quarantined"],
        "checks": [
            _check("clips", "Clips as recorded", clip_rules(config.check_clips)),
            _check("features", "Features", feature_rules(config.check_features)),
        ],
    }


def _splits(taken: pandas.DataFrame, used: dict[str, int]) -> list[tuple[str, int, int]]:
    """Split, clips that the corpus marks so, clips used so: the two differ where validation is
    carved from train.
    """
    marked = taken["split"].value_counts()
    return [
        (split, int(marked.get(split, 0)), used.get(split, 0))
        for split in ("train", "val", "test", "additional")
    ]


def _check(name: str, title: str, rules: Sequence[Rule]) -> dict[str, Any]:
    """A check's numbers with its rules, broken ones first."""
    verdict = read_json(METRICS / f"check_{name}.json")
    counted = [(rule, verdict["broken"].get(rule.name, 0)) for rule in rules]
    return {
        **verdict,
        "title": title,
        "link": f"data_docs/{name}/index.html",
        "rules": sorted(counted, key=lambda pair: pair[1] == 0),
    }


def _git(*arguments: str) -> str:
    """What git answers; nothing where there is no git or no commit."""
    result = subprocess.run(
        ["git", *arguments], capture_output=True, text=True, check=False, cwd=Path.cwd()
    )
    return result.stdout.strip() if result.returncode == 0 else ""
