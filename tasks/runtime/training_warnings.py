"""Warnings at the end of a stage: a collapsed codebook, a part that stands still, a drifting root.

A training can end with a low loss and a model that does not move. The thresholds are here alone.
They are far from what the checks of `mambatalk.evaluation.checks` ask for: a warning means that
something is broken, and a failed check that something is not good enough. The stages write the
measures, and not the warnings, to their outputs, so that a new threshold retrains nothing.
"""

import logging
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tasks.tracking.recorder import Recorder

MIN_KMEANS_SHARE: Final = 0.3
"""Perplexity of a codebook relative to k-means on the same latents. Of 13 trainings of the lower
body in docs/experiments.md four had less, and three of these carried 0.06 of its velocity."""
MIN_CODES_USED: Final = 0.2
"""Share of the codes in use. The codebook of legs that stood still had 0.15; the codebooks of the
sample that move have 0.4 to 1."""
MIN_CODE_SHARE: Final = 0.3
"""Perplexity of the generator's codes relative to that of the recording's codes. A part that always
gets the same few codes stands still, however good its codebook is."""
MIN_RANGE: Final = 0.5
"""Range of a part relative to the recording. Legs that stood still had 0.01 to 0.1, the parts of
the sample that visibly move 0.74 to 1.1."""
MAX_DRIFT: Final = 2.0
"""Distance of the root from its place 10 s before, relative to the recording: random training clips
have 0.9 on the sample."""

_LOG = logging.getLogger(__name__)


def warn(stage: str, texts: list[str], recorder: Recorder) -> None:
    """Write warnings to the log, and to MLflow as the tag `warnings` and the metric of that name.

    Args:
        stage: Name of the stage.
        texts: The warnings; none is recorded as the number 0.
        recorder: The stage's run.

    """
    for text in texts:
        _LOG.warning("warning: %s: %s", stage, text)
    recorder.metrics({"warnings": len(texts)})
    if texts:
        recorder.tag("warnings", "; ".join(texts))


def training_warnings(metrics: Mapping[str, Any]) -> list[str]:
    """Return the warnings of a training.

    Args:
        metrics: Its final metrics, of an auto-encoder or of the generator ("PART/NAME").

    """
    parts: dict[str, dict[str, Any]] = {}
    for key, value in metrics.items():
        part, _, name = key.rpartition("/")
        parts.setdefault(part, {})[name] = value
    return [
        f"{part}: {text}" if part else text
        for part, measures in parts.items()
        for text in _training_warnings(measures)
    ]


def _training_warnings(measures: Mapping[str, float]) -> Iterator[str]:
    perplexity = measures.get("perplexity")
    kmeans = measures.get("kmeans_perplexity")
    true = measures.get("true_perplexity")
    if perplexity is not None and kmeans is not None and perplexity < MIN_KMEANS_SHARE * kmeans:
        yield (
            f"the codebook has collapsed: perplexity {perplexity:.1f}, k-means on the same latents"
            f" {kmeans:.1f} (at least {MIN_KMEANS_SHARE:g} times that is expected)"
        )
    used = measures.get("codes_used")
    if used is not None and used < MIN_CODES_USED:
        yield f"{used:.0%} of the codes are in use, expected at least {MIN_CODES_USED:.0%}"
    yield from _generated_codes(perplexity, true)
    yield from _movement("reconstructed", measures.get("range_ratio"), measures.get("drift_ratio"))


def evaluation_warnings(result: Mapping[str, Any]) -> list[str]:
    """Return the warnings on the generated motion of an evaluation.

    Args:
        result: Content of `metrics/metrics.json`.

    """
    # Here, because the training stages need not wait for the import of torchmetrics.
    from mambatalk.metrics.catalogue import (
        CODED_PARTS,
        GROUND_TRUTH,
        PART_NAMES,
        metric_value,
        ratio_to_truth,
    )

    warnings = []
    for coded, name in CODED_PARTS.items():
        perplexity, true = (
            metric_value(result, row, f"codes_{coded}") for row in ("model", GROUND_TRUTH)
        )
        warnings += [f"{name}: {text}" for text in _generated_codes(perplexity, true)]
    for part, name in PART_NAMES.items():
        moved = ratio_to_truth(result, "model", f"range_{part}")
        warnings += [f"{name}: {text}" for text in _movement("generated", moved, None)]
    drift = ratio_to_truth(result, "model", "root_drift")
    return warnings + [f"root: {text}" for text in _movement("generated", None, drift)]


def _generated_codes(perplexity: float | None, true: float | None) -> Iterator[str]:
    if perplexity is not None and true is not None and perplexity < MIN_CODE_SHARE * true:
        yield (
            f"the generated codes have collapsed: perplexity {perplexity:.1f}, codes of the"
            f" recording {true:.1f} (at least {MIN_CODE_SHARE:g} times that is expected)"
        )


def _movement(kind: str, moved: float | None, drift: float | None) -> Iterator[str]:
    if moved is not None and moved < MIN_RANGE:
        yield (
            f"the {kind} motion stands nearly still: its range is {moved:.2f} times that of the"
            f" recording, expected at least {MIN_RANGE:g}"
        )
    if drift is not None and drift > MAX_DRIFT:
        yield (
            f"the {kind} motion drifts: {drift:.1f} times as far in 10 s as the recording, expected"
            f" at most {MAX_DRIFT:g}"
        )
