"""Train the model without one of its ideas at a time: `python -m tasks.tools.ablations`.

Each experiment of `EXPERIMENTS` changes some parameters of a profile, and is built with several
seeds, up to the metrics. All builds use one git worktree, `runs/ablations/checkout`, on the commit
checked out here, and share DVC's cache: a stage that two experiments have in common is trained
once. Metrics are kept in `runs/ablations/PROFILE`, so that the same command continues after a stop;
on another commit they are computed again. The table in docs/ablations.md is written after each
build.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any, Final

import typer
from ruamel.yaml import YAML
from tabulate import tabulate

from mambatalk.config import load_config
from mambatalk.errors import InputError
from mambatalk.files import atomic_file, digest, read_json, write_json
from mambatalk.metrics.catalogue import CATALOGUE, GROUND_TRUTH, MISSING, metric_value
from tasks.runtime.command import run_command
from tasks.runtime.origin import processor
from tasks.runtime.paths import Paths
from tasks.runtime.worktree import git, prepare_worktree
from tasks.tools.profile import switch
from tasks.tools.repro import repro

FOLDER: Final = Path("runs/ablations")
CHECKOUT: Final = FOLDER / "checkout"
PAGE: Final = Path("docs/ablations.md")
MLFLOW_EXPERIMENT: Final = "mambatalk-ablations"
BASELINE: Final = "corrected"
FIRST_SEED: Final = 2021
_STOPPED: Final = (130, 143)
"""Exit codes of builds that SIGINT and SIGTERM ended; DVC's own failures end with 255."""
BEGIN: Final = "<!-- ablations: written by `make ablations` -->"
END: Final = "<!-- end of ablations -->"

METRICS: Final = (
    "fgd",
    "bc",
    "l1div",
    "mse",
    "lvd",
    "event_f1",
    "correlation_upper",
    "jerk_upper",
    "range_lower",
)
"""Columns of the table."""
MARKED_SEEDS: Final = 3
"""Smallest number of common seeds with which a difference is marked."""

Results = Mapping[str, Mapping[int, dict[str, Any]]]
"""Content of `metrics.json` by experiment and seed."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A change of a profile."""

    title: str
    """Name in the table."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Values of parameters by dotted key."""


EXPERIMENTS: Final[Mapping[str, Experiment]] = {
    BASELINE: Experiment(title="the profile as it is"),
    "published": Experiment(
        title="published behaviour in everything", changes={"fidelity": "published"}
    ),
    "likely_codes": Experiment(
        title="most likely code of each frame", changes={"evaluate.codes": "likely"}
    ),
    "drawn_codes": Experiment(
        title="code of each frame drawn by itself, temperature and top-p 0.9",
        changes={"evaluate.codes": "drawn"},
    ),
    "no_codes": Experiment(
        title="motion regressed directly, without codes",
        changes={"train_generator.target": "motion"},
    ),
    "no_global_scan": Experiment(
        title="no global scan", changes={"train_generator.global_scan": False}
    ),
    "no_local_scan": Experiment(
        title="no local scan", changes={"train_generator.local_scan": False}
    ),
    "adaptive_speaker": Experiment(
        title="speaker by an adaptive norm", changes={"train_generator.speaker": "adaptive"}
    ),
    "speaker_attention": Experiment(
        title="speaker by attention to 8 vectors", changes={"train_generator.speaker": "attention"}
    ),
    "no_words": Experiment(title="audio alone", changes={"train_generator.use_words": False}),
    "no_random_mask": Experiment(
        title="no random mask", changes={"train_generator.random_weight": 0.0}
    ),
    "random_mask": Experiment(
        title="random mask of channels, one pass of weight 2",
        changes={"train_generator.random_weight": 2.0},
    ),
    "two_passes": Experiment(
        title="random mask of channels, two passes of weight 1",
        changes={"train_generator.random_weight": 2.0, "train_generator.random_passes": 2},
    ),
    "prefix_mask": Experiment(
        title="random mask of all frames after a prefix, one pass of weight 2",
        changes={"train_generator.random_weight": 2.0, "train_generator.random_mask": "prefix"},
    ),
    "last_epoch": Experiment(
        title="generator of the last epoch", changes={"train_generator.select": "last"}
    ),
    "moving_average": Experiment(
        title="code vectors are moving averages",
        changes={"train_vq.common.quantizer": "moving_average"},
    ),
    "scalar": Experiment(
        title="finite scalar quantisation", changes={"train_vq.common.quantizer": "scalar"}
    ),
    "product": Experiment(
        title="two small codebooks", changes={"train_vq.common.quantizer": "product"}
    ),
    "no_revival": Experiment(
        title="dead codes stay dead", changes={"train_vq.common.revive_dead_codes": False}
    ),
}


def chosen(names: Sequence[str]) -> list[str]:
    """Return the experiments to run, the baseline first; all of them if no name is given.

    Raises:
        InputError: There is no such experiment.

    """
    for name in names:
        if name not in EXPERIMENTS:
            raise InputError(
                "--only", f"expected one of {', '.join(EXPERIMENTS)}, found {name}", "choose one"
            )
    return [name for name in EXPERIMENTS if not names or name in (BASELINE, *names)]


def write_params(path: Path, changes: Mapping[str, Any]) -> None:
    """Change values of a parameter file, and keep its comments.

    Args:
        path: The file.
        changes: New values by dotted key.

    Raises:
        InputError: A key is unknown, or a value is not valid.

    """
    yaml = YAML()
    params = yaml.load(path)
    for key, value in changes.items():
        *sections, name = key.split(".")
        section = params
        for part in sections:
            section = section[part]
        section[name] = value
    with atomic_file(path) as temporary:
        yaml.dump(params, temporary)
    load_config(path)


def build(experiment: Experiment, profile: str, seed: int, stored: Path) -> int:
    """Build an experiment up to its metrics and store them, unless that has been done.

    Args:
        experiment: The experiment.
        profile: Profile that it changes.
        seed: Seed of the build.
        stored: File for the metrics.

    Returns:
        The exit code of `dvc repro`.

    """
    switch(profile, CHECKOUT)
    write_params(CHECKOUT / "params.yaml", {**experiment.changes, "seed": seed})
    params = (CHECKOUT / "params.yaml").read_text(encoding="utf-8")
    identity = digest({"commit": git("rev-parse", "HEAD"), "params": params})
    if stored.exists() and read_json(stored)["identity"] == identity:
        return 0
    code = repro(CHECKOUT, {"MLFLOW_EXPERIMENT_NAME": MLFLOW_EXPERIMENT}, targets=["evaluate"])
    if code == 0:
        metrics = read_json(Paths(CHECKOUT).evaluation)
        # The stages' own records would lack those that DVC has restored from its cache.
        origin = {"commit": git("rev-parse", "--short", "HEAD"), "processor": processor()}
        write_json(stored, {"identity": identity, "origin": origin, "metrics": metrics})
    return code


def table(results: Results) -> str:
    """Return the experiments as a table in Markdown: mean and range over the seeds of each metric.

    Bold is better than the baseline with every seed, italic is worse with every seed; with fewer
    than three common seeds nothing is marked.

    Args:
        results: Results, the baseline's among them.

    """
    metrics = [CATALOGUE[key] for key in METRICS]
    baseline = results[BASELINE]
    truth = next(iter(baseline.values()))
    lines = [
        [
            "ground truth",
            "",
            *(metric.format(metric_value(truth, GROUND_TRUTH, metric.key)) for metric in metrics),
        ]
    ]
    for name, by_seed in results.items():
        cells = [
            _cell(metric.key, by_seed, baseline if name != BASELINE else {}) for metric in metrics
        ]
        lines.append([EXPERIMENTS[name].title, str(len(by_seed)), *cells])
    headings = ["", "seeds", *(metric.heading for metric in metrics)]
    alignment = ["left", *["right"] * (len(metrics) + 1)]
    return tabulate(lines, headings, tablefmt="github", colalign=alignment, disable_numparse=True)


def _cell(key: str, by_seed: Mapping[int, dict[str, Any]], baseline: Mapping[int, Any]) -> str:
    metric = CATALOGUE[key]
    losses = {seed: _loss(key, one) for seed, one in by_seed.items()}
    values = [metric_value(one, "model", key) for one in by_seed.values()]
    known = [value for value in values if value is not None]
    if not known:
        return MISSING
    text = metric.format(fmean(known))
    if len(known) > 1:
        text += f" ({metric.format(min(known))} to {metric.format(max(known))})"
    gains = []
    for seed, after in losses.items():
        before = _loss(key, baseline[seed]) if seed in baseline else None
        if before is not None and after is not None:
            gains.append(before - after)
    if len(gains) < MARKED_SEEDS:
        return text
    if min(gains) > 0:
        return f"**{text}**"
    return f"*{text}*" if max(gains) < 0 else text


def _loss(key: str, metrics: Mapping[str, Any]) -> float | None:
    """Return how bad a metric is, or None if it is undefined."""
    value = metric_value(metrics, "model", key)
    if value is None:
        return None
    better = CATALOGUE[key].better
    if better != "nearer to ground truth":
        return value if better == "lower" else -value
    truth = metric_value(metrics, GROUND_TRUTH, key)
    return None if truth is None else abs(value - truth)


def page(text: str, block: str) -> str:
    """Return the page with the text between its marks replaced."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{block}\n{END}{after}"


def _write_page(profile: str, names: Iterable[str], folder: Path) -> None:
    results: dict[str, dict[int, dict[str, Any]]] = {}
    origins = []
    for name in names:
        for path in sorted((folder / name).glob("*.json")):
            stored = read_json(path)
            results.setdefault(name, {})[int(path.stem)] = stored["metrics"]
            origins.append(stored["origin"])
    if BASELINE not in results:
        return
    commits = " and ".join(dict.fromkeys(origin["commit"] for origin in origins))
    processors = " and ".join(dict.fromkeys(origin["processor"] for origin in origins))
    clips = next(iter(results[BASELINE].values()))["clips"]
    block = (
        f"{table(results)}\n\n"
        f"Profile `{profile}`, {clips} held-out clips, seeds "
        f"{' '.join(map(str, results[BASELINE]))}, commit {commits}, {processors}."
    )
    text = PAGE.read_text(encoding="utf-8")
    with atomic_file(PAGE) as temporary:
        temporary.write_text(page(text, block), encoding="utf-8")


def command(
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="Experiment to run beside the baseline; may be repeated. All if missing."
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds.")] = 3,
    profile: Annotated[str, typer.Option(help="Profile that the experiments change.")] = "sample",
) -> None:
    """Build the experiments, and write the table after each."""
    names = chosen(only or [])
    prepare_worktree(CHECKOUT)
    folder = FOLDER / profile
    builds = [(seed, name) for seed in range(FIRST_SEED, FIRST_SEED + seeds) for name in names]
    failed = []
    for number, (seed, name) in enumerate(builds, 1):
        sys.stdout.write(f"\nBuild {number} of {len(builds)}: {name}, seed {seed}\n")
        sys.stdout.flush()
        code = build(EXPERIMENTS[name], profile, seed, folder / name / f"{seed}.json")
        if code in _STOPPED:
            sys.exit(code)
        if code:
            failed.append(f"{name} with seed {seed}")
        _write_page(profile, EXPERIMENTS, folder)
    if failed:
        sys.stderr.write(f"make ablations: failed: {', '.join(failed)}; see their messages above\n")
        sys.exit(1)
    sys.stdout.write(f"\nThe table is in {PAGE}\n")


if __name__ == "__main__":
    run_command(command, "tasks.tools.ablations", __doc__)
