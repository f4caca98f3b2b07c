"""Decide about a challenger: score it beside the champion, apply the rules, record the result.

Nothing here moves an alias; `flows.promote` does, and only for the verdict "promote".
"""

import math
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from mambatalk.config import Config, PromotionConfig, config_dict, load_config
from mambatalk.files import atomic_directory, write_json
from mambatalk.metrics.catalogue import CATALOGUE, GROUND_TRUTH, KID, METRICS
from mambatalk.serving.registered import load_registered
from tasks.gate.budget import Budget, measure_budget
from tasks.gate.differences import (
    NO_GAIN_BELOW_TRUTH,
    Difference,
    difference,
    measure,
    noise_floor,
)
from tasks.gate.evidence import (
    evaluator_rule,
    evidence_rules,
    feature_drift,
    not_compared,
    read_manifest,
    split_rule,
)
from tasks.gate.files import DECISION, PAGE, REPORT, VERDICT_TAG, decision_folder
from tasks.gate.page import write_page, write_report
from tasks.gate.rules import (
    CHALLENGER,
    CHAMPION,
    COMPARED,
    DISTANCES,
    Comparison,
    Rule,
    Verdict,
    budget_rules,
    comparison_rules,
    floor_rules,
    verdict_of,
)
from tasks.gate.scoring import Scored, score_models
from tasks.registry.aliases import read_aliases, read_history, rolled_back_versions
from tasks.registry.registration import accepted_clips, evaluator_version
from tasks.registry.store import (
    NAME,
    download_version,
    no_version,
    open_registry,
    read_version,
    registry_errors,
)
from tasks.runtime.paths import Paths
from tasks.tracking.store import connect

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

LEVEL: Final = 0.95
"""Confidence level of intervals. The distances share the error, because a gain in one is enough."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The result of the gate."""

    verdict: Verdict
    reason: str
    version: str
    """The challenger."""
    champion: str | None
    """The champion that it was compared with."""
    when: str
    """ISO 8601, UTC."""
    clips: list[str]
    units: int
    """Clips, or parts of them, that intervals are over."""
    rules: list[Rule]
    values: dict[str, dict[str, float | None]]
    """Raw value by metric and row, "noise_floor" among the rows of distances."""
    drift: list[dict[str, Any]]
    tags: dict[str, dict[str, str]]
    """Tags of the versions, by row."""
    promotion: dict[str, Any]
    """The rules' numbers, from `params.yaml`."""


def decide(root: str | Path = ".", version: str | None = None) -> Decision | None:
    """Compare a version with the champion, and record the decision.

    Args:
        root: Root of the checkout whose test clips, FGD encoder and body are used.
        version: Version to decide about. If None, the challenger.

    Returns:
        The decision; None if there is nothing to decide: no version was named and there is no
        challenger, or the version is the champion.

    Raises:
        RegistryError: MLflow does not answer.
        InputError: There is no such version, no version at all, a bundle is damaged or its
            signature is not valid, or the checkout has no features.

    """
    paths = Paths(Path(root).resolve())
    config = load_config(paths.params)
    client = open_registry()
    with registry_errors():
        aliases = read_aliases(client)
    number = version or aliases.challenger
    if number is None and aliases.champion is None:
        raise no_version()
    if number is None or number == aliases.champion:
        return None
    with TemporaryDirectory() as temporary:
        gate = _Gate(client, config, paths, Path(temporary))
        decision = gate.decide(number, aliases.champion, is_named=version is not None)
    folder = decision_folder(paths)
    with atomic_directory(folder) as out:
        write_json(out / DECISION, asdict(decision))
        write_page(out / PAGE, decision, paths)
        write_report(out / REPORT, decision, paths)
    with registry_errors():
        _record(client, decision, folder)
    return decision


class _Gate:
    """What the steps of one decision share."""

    def __init__(
        self, client: "MlflowClient", config: Config, paths: Paths, temporary: Path
    ) -> None:
        self.client = client
        self.config = config
        self.paths = paths
        self.temporary = temporary

    def decide(self, number: str, champion: str | None, *, is_named: bool) -> Decision:
        with registry_errors():
            versions = {CHALLENGER: read_version(self.client, number)}
            if champion is not None:
                versions[CHAMPION] = read_version(self.client, champion)
            folders = {row: self._download(row, version) for row, version in versions.items()}
            tags = {row: dict(version.tags) for row, version in versions.items()}
            before = read_manifest(self.client, tags[CHAMPION]) if champion else None
            rolled_back = number in rolled_back_versions(read_history(self.client))

        bundles = {row: load_registered(folder) for row, folder in folders.items()}
        current = accepted_clips(self.paths)
        scored = score_models(
            self.config, self.paths, bundles, not_compared=not_compared(before, current)
        )
        rules = [
            *evidence_rules(
                self.paths, tags[CHALLENGER], is_rolled_back=rolled_back, is_named=is_named
            ),
            split_rule(before, current, scored.left_out, is_named=is_named),
            evaluator_rule(evaluator_version(self.config, self.paths), tags[CHALLENGER]),
            *self._score_rules(
                scored, measure_budget(folders[CHALLENGER]), has_champion=champion is not None
            ),
        ]
        verdict, reason = verdict_of(rules, has_champion=champion is not None)
        return Decision(
            verdict=verdict,
            reason=reason,
            version=number,
            champion=champion,
            when=datetime.now(UTC).isoformat(timespec="seconds"),
            clips=scored.clips,
            units=scored.evaluation.clips,
            rules=rules,
            values=_values(scored),
            drift=[] if before is None else feature_drift(self.config, before, current),
            tags=tags,
            promotion=config_dict(self.config.promotion),
        )

    def _download(self, row: str, version: "ModelVersion") -> Path:
        folder = self.temporary / row
        folder.mkdir()
        return download_version(self.client, str(version.version), folder)

    def _score_rules(self, scored: Scored, budget: Budget, *, has_champion: bool) -> list[Rule]:
        rules = self.config.promotion
        floors = _floors(rules, scored)
        found = [*floor_rules(rules, floors), *budget_rules(rules, budget)]
        compared = _comparisons(rules, scored) if has_champion else None
        return [*found, *comparison_rules(rules, compared, len(scored.clips))]


def _floors(rules: PromotionConfig, scored: Scored) -> dict[tuple[str, str], Difference | None]:
    wanted = {"mean_pose": rules.beat_mean_pose, "random_clip": rules.beat_random_clip}
    return {
        (key, baseline): _difference(scored, key, baseline, LEVEL)
        for baseline, keys in wanted.items()
        for key in keys
    }


def _comparisons(rules: PromotionConfig, scored: Scored) -> dict[str, Comparison | None]:
    compared: dict[str, Comparison | None] = {}
    for key in COMPARED:
        # Two distances give two chances of a gain, so that each has half of the error.
        level = 1 - (1 - LEVEL) / len(DISTANCES) if key in DISTANCES else LEVEL
        found = _difference(scored, key, CHAMPION, level)
        compared[key] = (
            None if found is None else Comparison(difference=found, scale=_scale(scored, found))
        )
    return compared


def _difference(scored: Scored, key: str, other: str, level: float) -> Difference | None:
    if not scored.clips:
        return None
    return difference(scored.evaluation, key, CHALLENGER, other, level=level)


def _scale(scored: Scored, found: Difference) -> float:
    """Return the value that tolerance and gain are shares of."""
    if found.key in NO_GAIN_BELOW_TRUTH:
        return max(found.second, found.truth or 0.0)
    if found.truth is not None:
        return abs(found.truth)
    if found.key == KID.key:
        # An unbiased estimate, which may be 0 or less for a good model.
        floor = noise_floor(scored.evaluation, found.key, scored.parts)
        return max(found.second, floor or 0.0, 0.0)
    return found.second


def _everything(scored: Scored) -> NDArray[np.float64]:
    """Return the weights (clips,) with which every clip counts."""
    return np.ones(scored.evaluation.clips)


def _values(scored: Scored) -> dict[str, dict[str, float | None]]:
    """Return the values of every compared metric by row."""
    if not scored.clips:
        return {}
    keys = dict.fromkeys((*METRICS, *COMPARED))
    values: dict[str, dict[str, float | None]] = {}
    for key in keys:
        values[key] = {}
        for row in scored.evaluation.rows:
            number = float(measure(scored.evaluation, row, key)(_everything(scored)))
            is_distance_to_itself = key in DISTANCES and row == GROUND_TRUTH
            known = not math.isnan(number) and not is_distance_to_itself
            values[key][row] = number if known else None
        if key in DISTANCES:
            values[key]["noise_floor"] = noise_floor(scored.evaluation, key, scored.parts)
    return {key: rows for key, rows in values.items() if any(v is not None for v in rows.values())}


def _record(client: "MlflowClient", decision: Decision, folder: Path) -> None:
    """Log the decision as a run of MLflow, and tag the version with it."""
    import mlflow

    _, experiment = connect()
    against = f"version {decision.champion}" if decision.champion else "no champion"
    tags = {
        "stage": "gate",
        "version": decision.version,
        "champion": decision.champion or "",
        "verdict": decision.verdict,
        "mlflow.note.content": f"**{decision.verdict}** {decision.reason}",
    }
    with mlflow.start_run(
        experiment_id=experiment, run_name=f"gate: version {decision.version}, {against}"
    ) as run:
        mlflow.set_tags(tags)
        for key, rows in decision.values.items():
            for row, value in rows.items():
                if value is not None:
                    mlflow.log_metric(f"{row}/{CATALOGUE[key].key}", value)
        mlflow.log_artifacts(str(folder))
    client.set_model_version_tag(NAME, decision.version, "gate_run_id", run.info.run_id)
    client.set_model_version_tag(NAME, decision.version, "gate_when", decision.when)
    client.set_model_version_tag(NAME, decision.version, "gate_reason", decision.reason[:4000])
    client.set_model_version_tag(NAME, decision.version, VERDICT_TAG, decision.verdict)
