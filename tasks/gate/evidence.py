"""What a decision needs beside the scores: data checks, videos, the test split, and drift."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pandas

from mambatalk.config import Config
from mambatalk.files import read_json
from mambatalk.quality.drift import compute_shifts
from mambatalk.quality.measures import add_derived_columns, select_measures
from mambatalk.quality.rules.catalogue import clip_rules
from mambatalk.reporting.text import count_of
from tasks.gate.rules import Rule, Status
from tasks.registry.registration import EVIDENCE, MANIFEST, SPLIT
from tasks.registry.store import DIGEST_TAG
from tasks.runtime.paths import Paths

if TYPE_CHECKING:
    from mlflow import MlflowClient

_DIGESTS = ("motion_sha256", "wave_sha256")


def evidence_rules(
    paths: Paths, tags: Mapping[str, str], *, is_rolled_back: bool, is_named: bool
) -> Iterator[Rule]:
    """Yield the rules on what was built along with the challenger.

    Args:
        paths: Paths of the checkout.
        tags: Tags of the challenger.
        is_rolled_back: Whether the challenger was champion and rolled back from.
        is_named: Whether a person named this version.

    """
    verdict = tags.get("quality_verdict", "not run")
    statuses: dict[str, Status] = {"failed": "failed", "not run": "not run"}
    yield Rule(
        group="Evidence",
        name="Data checks passed",
        status=statuses.get(verdict, "passed"),
        text=verdict,
    )
    yield _video_rule(paths, tags)
    if is_rolled_back:
        yield Rule(
            group="Evidence",
            name="Not rolled back before",
            status="for information" if is_named else "failed",
            text="this version was champion and rolled back from",
        )


def _video_rule(paths: Paths, tags: Mapping[str, str]) -> Rule:
    name = "Sample rendered"
    described = paths.bundle / "bundle.json"
    if not described.is_file() or read_json(described)["digest"] != tags.get(DIGEST_TAG):
        text = "this checkout holds another bundle; run the gate where the challenger was built"
        return Rule(group="Evidence", name=name, status="not run", text=text)
    videos = [path for path in sorted(paths.renders.glob("*.mp4")) if path.stat().st_size]
    if not videos:
        return Rule(group="Evidence", name=name, status="failed", text="no video in renders/")
    return Rule(
        group="Evidence", name=name, status="passed", text=f"{count_of(len(videos), 'video')}"
    )


def evaluator_rule(version: str, challenger: Mapping[str, str]) -> Rule:
    """Return whether the evaluator is still the one of the challenger's registration."""
    same = challenger.get("evaluator_version") == version
    note = "the challenger's own report used the same" if same else "both were scored again with it"
    return Rule(
        group="Evidence",
        name="Evaluator of this decision",
        status="for information",
        text=f"{version}; {note}",
    )


def read_manifest(client: "MlflowClient", tags: Mapping[str, str]) -> pandas.DataFrame | None:
    """Return the accepted clips that a version was registered with; None if they were not kept."""
    run = tags.get("run_id")
    if run is None:
        return None
    kept = {entry.path for entry in client.list_artifacts(run, EVIDENCE)}
    names = [f"{EVIDENCE}/{name}" for name in (MANIFEST, SPLIT)]
    if not kept.issuperset(names):
        return None
    with TemporaryDirectory() as folder:
        manifest, split = (client.download_artifacts(run, name, folder) for name in names)
        clips = pandas.read_parquet(manifest)
        return clips[clips["clip_id"].isin(pandas.read_csv(split, dtype=str)["clip_id"])]


def not_compared(manifest: pandas.DataFrame | None, current: pandas.DataFrame) -> dict[str, str]:
    """Return the checkout's test clips on which a version must not be compared, with the reason.

    What is left is the frozen test split: the clips that the version had for its test.

    Args:
        manifest: Accepted clips of the version; None if they are unknown, or there is no version.
        current: Accepted clips of the checkout.

    """
    if manifest is None:
        return {}
    before, test = _test_clips(manifest), _test_clips(current)
    reasons = {
        clip: "its files changed since the champion" if clip in before else "new since the champion"
        for clip in _without(test, before)
    }
    training = manifest[manifest["split"] != "test"]
    for position, column in enumerate(_DIGESTS):
        known = set(training[column].dropna())
        for clip, content in test.items():
            if content[position] in known:
                reasons[clip] = "the champion was trained on it"
    return reasons


def split_rule(
    manifest: pandas.DataFrame | None,
    current: pandas.DataFrame,
    left_out: Mapping[str, str],
    *,
    is_named: bool,
) -> Rule:
    """Return whether the test clips are still those that the champion was registered with.

    Without a clip that the champion had, or with other files under its name, the comparison may be
    an easier one. A person who names the version accepts that.

    Args:
        manifest: Accepted clips of the champion; None if they are unknown, or there is no champion.
        current: Accepted clips of the checkout.
        left_out: Reason by test clip of the checkout that is not compared.
        is_named: Whether a person named the version to decide about.

    """
    status: Status = "for information"
    parts = []
    if manifest is not None:
        before, now = _test_clips(manifest), _test_clips(current)
        lost = _without(before, now)
        parts.append(
            f"{len(before) - len(lost)} of {count_of(len(before), 'clip')} of the champion"
        )
        parts += [f"{clip} {'changed' if clip in now else 'is missing'}" for clip in lost]
        if lost and not is_named:
            status = "unclear"
    parts += [f"{clip} left out: {reason}" for clip, reason in left_out.items()]
    return Rule(
        group="Evidence",
        name="Frozen test split",
        status=status,
        text="; ".join(parts) or "no earlier split is known",
    )


def _test_clips(manifest: pandas.DataFrame) -> dict[str, tuple[str, ...]]:
    """Return the digests of the files of each test clip."""
    test = manifest[manifest["split"] == "test"]
    contents = test[list(_DIGESTS)].itertuples(index=False, name=None)
    return dict(zip(test["clip_id"], contents, strict=True))


def _without(
    clips: Mapping[str, tuple[str, ...]], others: Mapping[str, tuple[str, ...]]
) -> list[str]:
    """Return the clips whose files are not among those of the others, whatever their names."""
    known = set(others.values())
    return [clip for clip, content in clips.items() if content not in known]


def feature_drift(
    config: Config, before: pandas.DataFrame, now: pandas.DataFrame
) -> list[dict[str, Any]]:
    """Return the significant shifts of features since the champion's snapshot, largest first."""
    before, now = add_derived_columns(before), add_derived_columns(now)
    columns = [
        measure.column
        for measure in select_measures(pandas.concat([before, now]), clip_rules(config.check_clips))
    ]
    drifted = [
        {**asdict(shift), "level": shift.level}
        for shift in compute_shifts(before, now, columns)
        if shift.level in ("moderate", "large")
    ]
    return sorted(drifted, key=lambda shift: -shift["psi"])


def pictures(paths: Paths) -> list[Path]:
    """Return the pictures of the rendered clips."""
    return sorted(paths.renders.glob("*.png"))
