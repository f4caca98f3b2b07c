"""Measure the quality of streams against their delay: `python -m tasks.tools.delays`.

The bundle of a finished build generates the held-out clips as streams of several paces, and once
without a pace. `runs/delays` gets the table of docs/streaming.md (`delays.md`, and `delays.json`
with every metric) and its plot (`delays.png`). The sample takes three minutes of processor time.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import torch
import typer
from tabulate import tabulate

from mambatalk.config import load_config
from mambatalk.console import progress_bar
from mambatalk.errors import InputError
from mambatalk.evaluation.score import Evaluation, TruthClip
from mambatalk.features.store import ClipInfo, FeatureStore, open_features
from mambatalk.files import atomic_file, make_folder, write_json
from mambatalk.metrics.catalogue import EVENT_F1, MISSING, metric_value, ratio_to_truth
from mambatalk.models.fgd.storage import load_fgd_encoder
from mambatalk.motion.body import load_body
from mambatalk.motion.clip import SmplxMotion
from mambatalk.motion.skeleton import FPS
from mambatalk.runtime import device, make_deterministic
from mambatalk.synthesis.bundle import Bundle
from mambatalk.synthesis.layout import Pace
from mambatalk.synthesis.streaming import stream, stream_delay
from mambatalk.synthesis.synthesizer import Synthesizer
from tasks.evaluate import true_clips
from tasks.runtime.command import run_command
from tasks.runtime.paths import Paths

FOLDER: Final = Path("runs/delays")
PACES: Final = (
    Pace(hop=4, look_ahead=0),
    Pace(hop=4, look_ahead=4),
    Pace(hop=8, look_ahead=4),
    Pace(hop=8, look_ahead=8),
    Pace(hop=16, look_ahead=8),
    Pace(hop=16, look_ahead=16),
    None,
)
"""None streams without a pace, which gives the motion of offline synthesis."""
PLOTTED: Final = {
    "event_f1": "event F1 (higher)",
    "fgd": "FGD (lower)",
    "diversity": "diversity (m)",
    "jerk": "jerk, upper body (x recorded)",
}


@dataclass(frozen=True, kw_only=True)
class Point:
    """The quality of one pace. A metric is None where it is undefined."""

    pace: str
    delay: float
    """Seconds from a sound to the motion of its frame, at most."""
    event_f1: float | None
    fgd: float | None
    bc: float | None
    diversity: float | None
    """Metres."""
    jerk: float | None
    """Of the upper body, relative to the recordings."""
    processor_time: float
    """Seconds for one second of motion."""


def measure(
    synthesizer: Synthesizer,
    evaluation: Evaluation,
    store: FeatureStore,
    clips: Sequence[tuple[ClipInfo, TruthClip]],
    *,
    words: bool,
) -> tuple[Point, dict[str, Any]]:
    """Score the streams of one pace.

    Args:
        synthesizer: Synthesis of that pace.
        evaluation: Evaluation without clips.
        store: The features.
        clips: Clips to stream, and their recordings.
        words: Whether the words are known in advance. If not, use audio only.

    Returns:
        The figures, and the content of `metrics.json`.

    """
    seconds = 0.0
    began = time.process_time()
    motions = []
    for clip, _ in clips:
        pieces = stream(
            synthesizer,
            [store.waveform(clip)],
            speaker_id=clip.speaker_id,
            words=store.words[store.frames(clip)] if words else None,
        )
        motions.append(replace(_joined(pieces), betas=clip.betas))
        seconds += len(motions[-1]) / FPS
    spent = time.process_time() - began

    for (_, truth), motion in zip(clips, motions, strict=True):
        evaluation.add(truth, {"model": motion})
    result = evaluation.result()
    pace = synthesizer.layout.pace
    return (
        Point(
            pace=f"{pace.hop} + {pace.look_ahead}" if pace else "offline",
            delay=stream_delay(synthesizer),
            event_f1=metric_value(result, "model", EVENT_F1.key),
            fgd=metric_value(result, "model", "fgd"),
            bc=metric_value(result, "model", "bc"),
            diversity=metric_value(result, "model", "l1div"),
            jerk=ratio_to_truth(result, "model", "jerk_upper"),
            processor_time=spent / seconds,
        ),
        result,
    )


def table(points: Sequence[Point]) -> str:
    """Return the points as a Markdown table."""
    headings = [
        "hop + look-ahead",
        "delay (s)",
        "event F1",
        "FGD",
        "BC",
        "diversity (m)",
        "jerk, upper body",
        "processor time",
    ]
    rows = [
        [
            point.pace,
            f"{point.delay:.2f}",
            *(_text(value, 3) for value in (point.event_f1, point.fgd, point.bc)),
            _text(point.diversity, 2),
            _text(point.jerk, 1),
            f"{point.processor_time:.2f}",
        ]
        for point in points
    ]
    return tabulate(rows, headings, tablefmt="github", disable_numparse=True)


def plot(points: Sequence[Point], path: Path) -> None:
    """Write the curves of quality against delay as a png."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 2.4), layout="constrained")
    for axes, (name, title) in zip(figure.subplots(1, len(PLOTTED)), PLOTTED.items(), strict=True):
        values = [(point.delay, getattr(point, name)) for point in points]
        pairs = [(delay, value) for delay, value in values if value is not None]
        if pairs:
            axes.plot(*zip(*pairs, strict=True), marker="o", color="#3f6fb0")
            axes.set_ylim(0, 1.1 * max(value for _, value in pairs) or 1)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("delay (s)", fontsize=9)
        axes.tick_params(labelsize=8)
        axes.grid(color="#e2e0da")
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100, metadata={"Software": None})


def _joined(pieces: Iterable[SmplxMotion]) -> SmplxMotion:
    motions = list(pieces)
    return SmplxMotion(
        poses=np.concatenate([motion.poses for motion in motions]),
        expressions=np.concatenate([motion.expressions for motion in motions]),
        trans=np.concatenate([motion.trans for motion in motions]),
    )


def _text(value: float | None, digits: int) -> str:
    return MISSING if value is None else f"{value:.{digits}f}"


def command(
    words: Annotated[
        bool, typer.Option(help="Give the network the words, as if they were known in advance.")
    ] = False,
    threads: Annotated[int, typer.Option(min=1, help="Threads of PyTorch.")] = 1,
) -> None:
    """Measure all paces and write table and plot."""
    paths = Paths()
    if not (paths.bundle / "bundle.json").is_file():
        raise InputError(
            paths.bundle, "expected a trained model, found none", "run `make repro` first"
        )
    config = load_config(paths.params)
    make_deterministic(config.seed, threads)
    store = open_features(paths.features)
    bundle = Bundle.load(paths.bundle).to(device())
    split = store.clips_in_split(config.evaluate.split)[: config.evaluate.max_clips or None]
    clips = list(zip(split, true_clips(paths, store, split), strict=True))
    body = load_body(paths.resolve(config.body.path))
    points = []
    results = {}
    with progress_bar("streaming") as progress, torch.inference_mode():
        for done, pace in enumerate(PACES, start=1):
            evaluation = Evaluation(
                body=body,
                mean_velocity=np.load(paths.features / "mean_velocity.npy"),
                fgd_encoder=load_fgd_encoder(paths.fgd),
                fidelity=config.fidelity,
            )
            synthesizer = Synthesizer(bundle, pace=pace, precision="single")
            point, result = measure(synthesizer, evaluation, store, clips, words=words)
            points.append(point)
            results[point.pace] = result
            progress(done, len(PACES))
    make_folder(FOLDER)
    with atomic_file(FOLDER / "delays.md") as temporary:
        temporary.write_text(table(points) + "\n", encoding="utf-8")
    write_json(FOLDER / "delays.json", results)
    plot(points, FOLDER / "delays.png")
    typer.echo(table(points))
    typer.echo(f"{FOLDER / 'delays.png'}")


if __name__ == "__main__":
    run_command(command, "tasks.tools.delays", __doc__)
