"""Stage evaluate: compute all metrics on held-out clips, with ground-truth and baseline rows."""

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from torch import Tensor

from mambatalk.clips.store import ClipStore
from mambatalk.errors import InputError
from mambatalk.evaluation.baselines import (
    fit_length,
    mean_pose,
    random_clip,
    shuffled_audio,
    stored_motion,
)
from mambatalk.evaluation.checks import as_json, check_model, counts
from mambatalk.evaluation.score import Evaluation, TruthClip
from mambatalk.features.store import ClipInfo, FeatureStore, open_features
from mambatalk.features.windows import clip_ctc
from mambatalk.files import atomic_directory, atomic_file, read_json, write_json
from mambatalk.metrics.catalogue import (
    EVENTS,
    GROUND_TRUTH,
    KID,
    MARKS,
    METRICS,
    MOTION,
    PART_NAMES,
    RATIOS,
    MetricInfo,
    metric_value,
    ratio_to_truth,
)
from mambatalk.models.fgd.storage import load_fgd_encoder
from mambatalk.motion.body import load_body
from mambatalk.motion.clip import SmplxMotion
from mambatalk.motion.skeleton import Part
from mambatalk.runtime import make_deterministic
from mambatalk.synthesis.bundle import Bundle
from mambatalk.synthesis.layout import Speech
from mambatalk.synthesis.sampling import Sampling
from mambatalk.synthesis.synthesizer import Synthesizer
from mambatalk.training.codes import encode_clip
from tasks.runtime.context import StageContext
from tasks.runtime.paths import Paths
from tasks.runtime.stage import stage_command, threads
from tasks.runtime.training_warnings import evaluation_warnings, warn

ClipCodes = dict[Part, Tensor]
"""Codes (n,) of a clip by part."""
KINDS: Final = ("range", "speed", "jerk")


def run(context: StageContext) -> None:
    """Write `results/ID.npz`, and the metrics: `metrics/metrics.json`, summary, clips and plots."""
    config = context.config
    paths = context.paths
    make_deterministic(config.seed, threads())
    store = open_features(paths.features)
    bundle = Bundle.load(paths.bundle).to(context.device)
    synthesizer = _synthesizer(bundle, config.evaluate.codes, seed=config.seed)
    clips = store.clips_in_split(config.evaluate.split)[: config.evaluate.max_clips or None]
    evaluation = Evaluation(
        body=load_body(paths.resolve(config.body.path)),
        mean_velocity=np.load(paths.features / "mean_velocity.npy"),
        fgd_encoder=load_fgd_encoder(paths.fgd),
        fidelity=config.fidelity,
    )
    table: list[dict[str, Any]] = []
    with atomic_directory(paths.results) as out:
        for clip, truth in zip(clips, true_clips(paths, store, clips), strict=True):
            motions, codes = _motions(synthesizer, store, clips, clip, seed=config.seed)
            table += evaluation.add(truth, motions, codes)
            motions["model"].write(out / f"{clip.clip_id}.npz")
    _write_table(paths.per_clip, table)
    result = evaluation.result()
    checks = check_model(result, evaluation.without_each())
    result["checks"] = as_json(checks)
    write_json(paths.evaluation, result)
    write_json(paths.summary, _summary(result))
    _write_table(paths.plots / "evaluate.csv", _parts(result))
    event_scores = {key: result[key] for key in EVENTS}
    context.recorder.metrics({**result["rows"], **event_scores, "checks": counts(checks)})
    for key in MARKS:
        context.recorder.tag(key, str(result[key]))
    warn(context.stage, evaluation_warnings(result), context.recorder)
    context.recorder.artifact(paths.evaluation)
    context.recorder.artifact(paths.per_clip)


def _synthesizer(
    bundle: Bundle, codes: Literal["chain", "likely", "drawn"], *, seed: int
) -> Synthesizer:
    """Return what generates the model's motion, as `evaluate.codes` says.

    In single precision, so that metrics do not depend on the processor.

    Raises:
        InputError: The bundle predicts motion, and codes are to be chosen in another way.

    """
    if codes == "chain":
        return Synthesizer(bundle, precision="single")
    if not bundle.generator.predicts_codes:
        raise InputError(
            "evaluate.codes",
            f"expected chain with train_generator.target: motion, found {codes}",
            "set codes: chain; there are no codes to choose",
        )
    rules = replace(bundle.rules, coherent_codes=False)
    sampling = Sampling(seed=seed, temperature=0.9, top_p=0.9) if codes == "drawn" else None
    return Synthesizer(bundle, rules=rules, sampling=sampling, precision="single")


def _motions(
    synthesizer: Synthesizer,
    store: FeatureStore,
    clips: list[ClipInfo],
    clip: ClipInfo,
    *,
    seed: int,
) -> tuple[dict[str, SmplxMotion], dict[str, ClipCodes]]:
    """Return the motion of the model and of every baseline for one clip, and what has codes."""
    other = shuffled_audio(store, clips, clip, seed=seed)
    model, model_codes = _generate(synthesizer, store, clip, source=clip)
    shuffled, shuffled_codes = _generate(synthesizer, store, clip, source=other)
    motions = {
        "model": model,
        "mean_pose": mean_pose(store, clip),
        "random_clip": random_clip(store, clip, seed=seed),
        "shuffled_audio": shuffled,
    }
    bundle = synthesizer.bundle
    true_codes = encode_clip(
        store, clip, bundle.part_networks, rules=bundle.rules, device=synthesizer.device
    )
    codes = {
        GROUND_TRUTH: true_codes,
        "model": model_codes,
        "shuffled_audio": shuffled_codes,
    }
    return motions, codes


def _generate(
    synthesizer: Synthesizer, store: FeatureStore, clip: ClipInfo, *, source: ClipInfo
) -> tuple[SmplxMotion, ClipCodes]:
    """Generate motion as long as `clip`, and its codes, from audio and words of the clip `source`.

    A generator that predicts motion gives no codes. Published synthesis starts from the true frames
    of `clip`.
    """
    bundle = synthesizer.bundle
    tokens = clip_ctc(source)
    initial_motion = None
    if not bundle.rules.start_from_rest_pose:
        initial_motion = store.motion[store.frames(clip)][: bundle.context_frames]
    speech = Speech(
        waveform=fit_length(store.waveform(source), clip.samples),
        speaker_id=clip.speaker_id,
        frames=clip.frames,
        words=fit_length(store.words[store.frames(source)], clip.frames),
        initial_motion=initial_motion,
        ctc=None if tokens is None else fit_length(tokens.numpy(), clip.samples),
    )
    (codes,) = synthesizer.generate_codes([speech])
    # The network does not predict the body shape, so metrics use that of the recording.
    (generated,) = synthesizer.motion_of_codes([codes], [speech])
    motion = replace(generated, betas=clip.betas)
    if not bundle.generator.predicts_codes:
        return motion, {}
    return motion, {part: index[0] for part, index in codes.items()}


def true_clips(paths: Paths, store: FeatureStore, clips: list[ClipInfo]) -> Iterator[TruthClip]:
    """Yield the recordings of clips, with their annotations and events."""
    recorded = ClipStore(paths.clips)
    events = read_json(paths.sample_events)
    for clip in clips:
        yield TruthClip(
            name=clip.clip_id,
            motion=stored_motion(store, clip),
            waveform=store.waveform(clip),
            semantics=recorded.read(clip.clip_id).semantics,
            events=events.get(clip.clip_id),
        )


def _summary(result: dict[str, Any]) -> dict[str, Any]:
    """Return the model's corrected metrics and event scores, one number each, for DVC to compare.

    They have the values of the report: in the printed unit, which is part of the name, as in
    `bc_1e-1` and `root_drift_cm`. Range, speed, jerk and code perplexity are ratios to ground truth
    (`range_lower_ratio`), under `motion` with the other metrics of motion.
    """
    figures: dict[str, Any] = {}
    for metric in (*METRICS.values(), *EVENTS.values(), KID):
        figures[_unit_name(metric)] = _printed(result, metric)
    motion = {}
    for key, metric in MOTION.items():
        if key.startswith(RATIOS):
            motion[f"{key}_ratio"] = ratio_to_truth(result, "model", key)
        else:
            motion[_unit_name(metric)] = _printed(result, metric)
    return {**figures, "motion": motion}


def _unit_name(metric: MetricInfo) -> str:
    if not metric.exponent:
        return metric.key
    unit = metric.symbol.replace("/", "_per_") or f"1e{metric.exponent}"
    return f"{metric.key}_{unit}"


def _printed(result: dict[str, Any], metric: MetricInfo) -> float | None:
    value = metric_value(result, "model", metric.key)
    return None if value is None else metric.scaled(value)


def _parts(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one row per moving part for DVC's plots: the model's ratios to ground truth."""
    return [
        {
            "part": name,
            **{kind: ratio_to_truth(result, "model", f"{kind}_{part}") for kind in KINDS},
        }
        for part, name in PART_NAMES.items()
    ]


def _write_table(path: Path, table: list[dict[str, Any]]) -> None:
    with (
        atomic_file(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, table[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)


def main() -> None:
    """Run the stage."""
    stage_command("evaluate", run, __doc__)


if __name__ == "__main__":
    main()
