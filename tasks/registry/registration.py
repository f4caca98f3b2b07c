"""Register the bundle of a checkout as a version of the model `mambatalk`.

A version holds the whole bundle, the code of the library that loads it, a model card and, if a key
is configured, a signature. It refers to no path, so that `models:/mambatalk@champion` loads
anywhere. Registration is not promotion: the version gets the alias `challenger`, and
`flows.promote` decides. A bundle that is registered already is not registered again.
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import pandas
from ruamel.yaml import YAML

import mambatalk
from mambatalk.config import Config, load_config
from mambatalk.errors import InputError
from mambatalk.evaluation.intervals import mean_interval
from mambatalk.files import digest, read_json, sha256_file
from mambatalk.serving import registered as loader
from mambatalk.serving.signature import SIGNATURE_FILE, SIGNING_KEY, sign_bundle
from mambatalk.synthesis.bundle import Bundle
from tasks.registry.aliases import CHALLENGER, read_aliases, read_history, rolled_back_versions
from tasks.registry.card import CardFacts, model_card
from tasks.registry.store import (
    DIGEST_TAG,
    NAME,
    find_version,
    open_registry,
    registry_errors,
)
from tasks.runtime.paths import Paths
from tasks.runtime.view import locked_fingerprints
from tasks.tracking.models import model_requirements, signature_of
from tasks.tracking.store import connect, lineage

if TYPE_CHECKING:
    from mlflow import MlflowClient

CARD: Final = "MODEL_CARD.md"
EVIDENCE: Final = "evidence"
"""Folder of artifacts in the registration's run: what the gate of a later version compares with."""
MANIFEST: Final = "manifest.parquet"
SPLIT: Final = "split.csv"
"""Which accepted clip belongs to which split, as text beside the evidence."""
_CODED: Final = ("face", "upper", "hands", "lower")


@dataclass(frozen=True)
class Registered:
    """The version that holds the bundle of a checkout."""

    version: str
    bundle_digest: str
    created: bool
    """False if the bundle was registered already."""
    is_challenger: bool
    """False if the version is the champion, or was rolled back from, so that a person must name it.
    """
    message: str
    """What was done, one sentence."""


def register(root: str | Path = ".") -> Registered:
    """Register the bundle of a checkout, and make it the challenger.

    Args:
        root: Root of the checkout, in which the pipeline is built.

    Returns:
        The version, the same for the same bundle however often this is called.

    Raises:
        RegistryError: MLflow does not answer.
        InputError: There is no bundle, it is damaged, or its auto-encoders are not those that its
            generator was trained with; or a signing key cannot be read.

    """
    paths = Paths(Path(root).resolve())
    config = load_config(paths.params)
    bundle = Bundle.load(paths.bundle)
    check_auto_encoders(paths)
    description = read_json(paths.bundle / "bundle.json")
    client = open_registry()
    with registry_errors():
        found = find_version(client, description["digest"])
        if found is None:
            number = _create(client, config, paths, bundle, description)
        else:
            number = str(found.version)
        return _make_challenger(client, number, description["digest"], created=found is None)


def check_auto_encoders(paths: Paths) -> None:
    """Verify that the generator was trained with the auto-encoders of the bundle.

    Codes of another training have the same shape and another meaning, so comparing shapes is not
    enough. In `dvc.lock`, every stage must have read the auto-encoders that their stages wrote.

    Raises:
        InputError: A stage read other auto-encoders, or the bundle holds other files.

    """
    lock = paths.root / "dvc.lock"
    if not lock.is_file():
        raise InputError(
            lock,
            "expected dvc.lock, which says what a bundle was built from, found no such file",
            "build the pipeline in this checkout: `make repro`",
        )
    stages = YAML(typ="safe", pure=True).load(lock)["stages"]
    for part in _CODED:
        written = _md5(stages, f"train_vq@{part}", "outs", f"models/vq/{part}")
        for stage in ("encode_codes", "train_generator"):
            read = _md5(stages, stage, "deps", f"models/vq/{part}")
            if written is None or read != written:
                raise _other_auto_encoder(f"dvc.lock: stage {stage}", part)
        file = f"{part}.safetensors"
        trained = paths.vq / part / file
        if trained.is_file() and sha256_file(trained) != sha256_file(paths.bundle / file):
            raise _other_auto_encoder(paths.bundle / file, part)
    codes_of_generator = _md5(stages, "train_generator", "deps", "data/codes")
    if codes_of_generator != _md5(stages, "encode_codes", "outs", "data/codes"):
        raise _other_auto_encoder("dvc.lock: stage train_generator, data/codes", "all parts")


def _md5(stages: Mapping[str, Any], stage: str, kind: str, path: str) -> str | None:
    entries = stages.get(stage, {}).get(kind, ())
    return next((entry.get("md5") for entry in entries if entry["path"] == path), None)


def _other_auto_encoder(where: object, part: str) -> InputError:
    return InputError(
        where,
        f"expected the auto-encoder ({part}) that the generator was trained with, found another",
        "build the pipeline again: `make repro`",
    )


def _make_challenger(
    client: "MlflowClient", number: str, bundle_digest: str, *, created: bool
) -> Registered:
    done = f"registered version {number}" if created else f"version {number} holds this bundle"
    aliases = read_aliases(client)
    if aliases.champion == number:
        message = f"{done} already and is the champion; there is nothing to promote"
        return Registered(number, bundle_digest, created, False, message)
    if number in rolled_back_versions(read_history(client)):
        message = (
            f"{done} already and was rolled back from, so that it is no challenger again; "
            f"`python -m flows.promote --version {number}` promotes it all the same"
        )
        return Registered(number, bundle_digest, created, False, message)
    if aliases.challenger != number:
        client.set_registered_model_alias(NAME, CHALLENGER, number)
    return Registered(number, bundle_digest, created, True, f"{done}, the challenger")


def _create(
    client: "MlflowClient",
    config: Config,
    paths: Paths,
    bundle: Bundle,
    description: Mapping[str, Any],
) -> str:
    """Log the model in a run of its own, register it and return the number of the version."""
    import mlflow

    _, experiment = connect()
    tags = version_tags(config, paths, description)
    card = card_of_build(config, paths, description, tags)
    with TemporaryDirectory() as temporary:
        folder = Path(temporary) / NAME
        shutil.copytree(paths.bundle, folder / loader.BUNDLE_FOLDER)
        (folder / CARD).write_text(card, encoding="utf-8")
        key = os.environ.get(SIGNING_KEY)
        if key:
            sign_bundle(folder / loader.BUNDLE_FOLDER, folder / SIGNATURE_FILE, Path(key))
        tags["signed"] = str(bool(key)).lower()
        example = loader.example(bundle)
        run_tags = {**tags, "stage": "register", "mlflow.note.content": card[:4000]}
        with mlflow.start_run(
            experiment_id=experiment, run_name=f"register {description['digest'][:12]}"
        ) as run:
            mlflow.set_tags(run_tags)
            # The card refers to files beside it; the gate of a later version reads the evidence.
            mlflow.log_artifact(str(folder / CARD))
            if paths.data_card.is_file():
                mlflow.log_artifact(str(paths.data_card))
            for file in _evidence(paths):
                mlflow.log_artifact(str(file), EVIDENCE)
            mlflow.log_text(_split_table(paths), f"{EVIDENCE}/{SPLIT}")
            model = mlflow.pyfunc.log_model(
                name=NAME,
                loader_module=loader.__name__,
                code_paths=[str(Path(mambatalk.__file__).parent)],
                data_path=str(folder),
                signature=signature_of(example, loader.predictor(bundle)(example)),
                input_example=example,
                pip_requirements=model_requirements(),
            )
        created = mlflow.register_model(
            f"models:/{model.model_id}", NAME, tags={**tags, "run_id": run.info.run_id}
        )
    client.update_model_version(NAME, created.version, description=card[:4000])
    return str(created.version)


def card_of_build(
    config: Config, paths: Paths, description: Mapping[str, Any], tags: Mapping[str, str]
) -> str:
    """Return the model card of the bundle of a checkout.

    Args:
        config: Configuration of the checkout.
        paths: Paths of the checkout.
        description: Content of `bundle.json`.
        tags: As `version_tags` returns them.

    """
    return model_card(
        CardFacts(
            bundle=description,
            tags=tags,
            evaluation=_evaluation(paths),
            data=_data_facts(paths),
            is_sample=config.sample_corpus.enabled,
        )
    )


def version_tags(config: Config, paths: Paths, description: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags that lead from a version to its origin.

    Args:
        config: Configuration of the checkout.
        paths: Paths of the checkout.
        description: Content of `bundle.json`.

    """
    origin = lineage(config, paths.root)
    kept = ("git_commit", "git_dirty", "snapshot_digest", "seed")
    return {
        **{key: origin[key] for key in kept if key in origin},
        DIGEST_TAG: description["digest"],
        "dvc_lock_digest": digest(locked_fingerprints(paths.root / "dvc.lock")),
        "quality_verdict": quality_verdict(paths),
        "evaluator_version": evaluator_version(config, paths),
        "mambatalk_version": mambatalk.__version__,
    }


def quality_verdict(paths: Paths) -> str:
    """Return the verdict of the data checks: "passed", "passed with warnings" or "failed".

    "not run" if there is none.
    """
    verdicts = []
    for name in ("check_clips", "check_features"):
        path = paths.metrics / f"{name}.json"
        if not path.is_file():
            return "not run"
        verdicts.append(read_json(path))
    if not all(verdict["success"] for verdict in verdicts):
        return "failed"
    warnings = any(verdict["warnings"] for verdict in verdicts)
    return "passed with warnings" if warnings else "passed"


def evaluator_version(config: Config, paths: Paths) -> str:
    """Return a digest of everything that scores motion: code, FGD encoder and body model.

    Numbers of two versions can be compared only where it is the same.
    """
    library = Path(mambatalk.__file__).parent
    code = [
        path
        for package in ("evaluation", "metrics")
        for path in sorted((library / package).rglob("*.py"))
    ]
    files = {str(path.relative_to(library)): sha256_file(path) for path in code}
    for path in (*sorted(paths.fgd.rglob("*.safetensors")), paths.resolve(config.body.path)):
        if path.is_file():
            files[path.name] = sha256_file(path)
    return digest(files)[:16]


def _evidence(paths: Paths) -> list[Path]:
    files = [
        paths.evaluation,
        paths.per_clip,
        paths.metrics / "check_clips.json",
        paths.metrics / "check_features.json",
        paths.clips / MANIFEST,
        paths.root / "dvc.lock",
        paths.params,
    ]
    return [file for file in files if file.is_file()]


def accepted_clips(paths: Paths) -> pandas.DataFrame:
    """Return the rows of the manifest whose clips passed the checks."""
    manifest = pandas.read_parquet(paths.clips / MANIFEST)
    return manifest[manifest["clip_id"].isin(read_json(paths.accepted)["accepted"])]


def _split_table(paths: Paths) -> str:
    clips = accepted_clips(paths)[["clip_id", "split"]].sort_values(["split", "clip_id"])
    return clips.to_csv(index=False, lineterminator="\n")


def _data_facts(paths: Paths) -> dict[str, Any]:
    """Return clips, minutes and speakers of the accepted clips."""
    accepted = accepted_clips(paths)
    speakers = sorted(set(zip(accepted["speaker"], accepted["name"], strict=True)))
    return {
        "clips": len(accepted),
        "minutes": float(accepted["motion_seconds"].sum()) / 60,
        "speakers": [f"{speaker} {name}" for speaker, name in speakers],
        "splits": {
            str(split): int(count)
            for split, count in accepted["split"].value_counts().sort_index().items()
        },
    }


def _evaluation(paths: Paths) -> dict[str, Any] | None:
    if not paths.evaluation.is_file():
        return None
    per_clip = paths.per_clip if paths.per_clip.is_file() else None
    return evaluation_with_intervals(paths.evaluation, per_clip)


def evaluation_with_intervals(metrics: Path, per_clip: Path | None = None) -> dict[str, Any]:
    """Return the content of `metrics.json` with 95 % intervals of the corrected metrics.

    Args:
        metrics: File `metrics.json`.
        per_clip: File `per_clip.csv`, from which the intervals are computed. If None, there are
            none. Metrics without values by clip, as FGD, have none either.

    """
    evaluation: dict[str, Any] = read_json(metrics)
    if per_clip is None:
        return evaluation
    table = pandas.read_csv(per_clip)
    intervals: dict[str, Any] = {}
    for row, clips in table.groupby("row"):
        intervals[str(row)] = {
            key: {"corrected": _interval(clips, f"{key}_corrected")}
            for key in evaluation["rows"][str(row)]
            if f"{key}_corrected" in clips
        }
    return {**evaluation, "intervals": intervals}


def _interval(clips: pandas.DataFrame, column: str) -> tuple[float, float] | None:
    known = clips[clips[column].notna()]
    return mean_interval(list(zip(known[column], known["frames"].astype(float), strict=True)))
