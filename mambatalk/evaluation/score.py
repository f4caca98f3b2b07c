"""Score motions of several methods against recordings, clip by clip.

The numbers of a method are read beside two others: those of ground truth, whose FGD compares every
second clip with the rest and so shows how far recordings are apart, and those of the baselines in
`baselines.py`.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mambatalk.errors import InputError
from mambatalk.evaluation.intervals import fgd_without_each, kernel_distance_without_each
from mambatalk.evaluation.posing import Posed, Poser
from mambatalk.evaluation.row import ClipScores, Row, fgd_features
from mambatalk.fidelity import Fidelity
from mambatalk.metrics.catalogue import (
    DEEPEST,
    EVENT_F1,
    EVENT_F1_LOWER,
    EVENTS,
    GROUND_TRUTH,
    KID,
)
from mambatalk.metrics.frechet import ROWS_PER_DIMENSION
from mambatalk.metrics.srgr import Annotation, semantic_weights
from mambatalk.models.fgd.network import FGDEncoder
from mambatalk.motion.body import Body
from mambatalk.motion.clip import SmplxMotion
from mambatalk.motion.skeleton import Part
from mambatalk.sample.score import event_f1, lower_event_f1

MIN_FEATURE_CLIPS: Final = 3
"""Smallest number of clips with features whose distance is computed without each: with fewer, the
distance without one clip is no estimate of the distance of all."""
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TruthClip:
    """One recorded clip."""

    name: str
    motion: SmplxMotion
    """Every method is posed on the body shape of this motion."""
    waveform: NDArray[np.float32]
    """Audio (S,) at 16 kHz."""
    semantics: Sequence[Annotation] | None = None
    """Semantic annotations. None leaves the clip out of SRGR."""
    events: Sequence[dict[str, Any]] | None = None
    """Events that the sample's motion rules wrote. None for recorded clips."""


class Evaluation:
    """Accumulates the metrics of several methods over clips.

    Memory holds one clip, running sums, and each clip's scores and FGD features: 2 kB of features
    with 240 channels for every 16 frames of a method.

    Args:
        body: Body model that poses joints and faces.
        mean_velocity: Mean joint speeds (55,) in metres per second over training clips. If None, BC
            is null.
        fgd_encoder: Encoder of 6D poses. If None, FGD is null.
        fidelity: Fidelity of the scored bundle, as stated in `metrics.json`. None for other files.

    Attributes:
        features: FGD features by variant of each clip, by method; empty for a clip of fewer than 32
            frames.
        scores: Values and weights of each clip by metric and variant, by method.

    """

    def __init__(
        self,
        *,
        body: Body,
        mean_velocity: NDArray[np.floating] | None,
        fgd_encoder: FGDEncoder | None,
        fidelity: Fidelity | None,
    ) -> None:
        self.body_kind = body.kind
        self.fidelity = fidelity
        self.mean_velocity = mean_velocity
        self.encoder = fgd_encoder.eval() if fgd_encoder is not None else None
        self.fgd_dim = fgd_encoder.latent if fgd_encoder is not None else None
        self.fgd_origin = fgd_encoder.origin if fgd_encoder is not None else None
        self.poser = Poser(body)
        self.rows: dict[str, Row] = {}
        self.features: dict[str, list[dict[str, Tensor]]] = {}
        self.scores: dict[str, list[ClipScores]] = {}
        self.clips = 0
        self.frames = 0

    @torch.no_grad()
    def add(
        self,
        truth: TruthClip,
        motions: Mapping[str, SmplxMotion],
        codes: Mapping[str, Mapping[Part, Tensor]] | None = None,
    ) -> list[dict[str, Any]]:
        """Score one clip, cut to the frames that all motions have.

        Args:
            truth: The recorded clip.
            motions: The clip's motion by each method, the same methods for every clip. A row for
                ground truth is added.
            codes: Codes (n,) by part of the methods whose motion is made of codes, and of ground
                truth. The others have no code perplexity.

        Returns:
            One row of the per-clip table for ground truth and for each method.

        Raises:
            InputError: A motion is empty, or the methods are not those of the clips before.

        """
        everything = {GROUND_TRUTH: truth.motion, **motions}
        frames = min(len(motion) for motion in everything.values())
        self._check(truth, set(everything), frames)

        betas = truth.motion.betas
        actual = self.poser.pose(truth.motion[:frames], betas)
        real = self._features(actual)
        weights = None
        if truth.semantics:
            weights = torch.from_numpy(semantic_weights(truth.semantics, frames))

        table = []
        for name, motion in everything.items():
            is_truth = name == GROUND_TRUTH
            posed = actual if is_truth else self.poser.pose(motion[:frames], betas)
            row = self.rows.setdefault(name, Row(self.mean_velocity, self.fgd_dim))
            own_codes = (codes or {}).get(name)
            scores = row.add(
                posed,
                actual,
                waveform=truth.waveform,
                weights=weights,
                still=self.poser.still,
                codes=own_codes and {part: index[:frames] for part, index in own_codes.items()},
            )
            if truth.events is not None:
                scores |= _event_scores(motion[:frames], posed, truth.events)
            self.scores.setdefault(name, []).append(scores)
            self._add_features(name, real, real if is_truth else self._features(posed))
            table.append(_table_row(truth.name, name, frames, scores))
        self.clips += 1
        self.frames += frames
        return table

    def result(self) -> dict[str, Any]:
        """Return the content of `metrics.json`, in raw units and with null where undefined.

        Raises:
            InputError: No clip was added.

        """
        if not self.clips:
            raise InputError(
                "evaluation",
                "expected at least one clip, found no clip",
                "check the split it runs on",
            )
        warnings = self._warnings()
        for warning in warnings:
            _LOG.warning(warning)
        return {
            "rows": {name: row.compute() for name, row in self.rows.items()},
            **{
                key: {name: _mean(scores, key) for name, scores in self.scores.items()}
                for key in EVENTS
            },
            "clips": self.clips,
            "frames": self.frames,
            "fgd_rows": self._fgd_rows(),
            "body": self.body_kind,
            "fgd_encoder": self.fgd_origin,
            "fidelity": self.fidelity,
            "warnings": warnings,
        }

    def without_each(self) -> list[dict[str, dict[str, float | None]]]:
        """Return corrected metrics by method and key, without each clip in turn.

        They show how much a comparison depends on single clips (jackknife). Ground truth has no FGD
        and no kernel distance here, because its values compare halves of the clips.
        """
        distances = {name: self._distances_without_each(name) for name in self.rows}
        result = []
        for k in range(self.clips):
            rows = {}
            for name, scores in self.scores.items():
                rest = scores[:k] + scores[k + 1 :]
                keys = {key for clip in rest for key in clip} - {DEEPEST}
                rows[name] = {key: _mean(rest, key) for key in keys}
                rows[name] |= {key: values[k] for key, values in distances[name].items()}
            result.append(rows)
        return result

    def _distances_without_each(self, name: str) -> dict[str, list[float | None]]:
        """Return FGD and kernel distance of a method without each clip; None without features."""
        nothing: list[float | None] = [None] * self.clips
        known = [k for k, features in enumerate(self.features[name]) if features]
        if name == GROUND_TRUTH or len(known) < MIN_FEATURE_CLIPS:
            return {"fgd": nothing, KID.key: nothing}
        generated = [self.features[name][k]["corrected"] for k in known]
        truth = [self.features[GROUND_TRUTH][k]["corrected"] for k in known]
        result = {}
        for key, values in (
            ("fgd", fgd_without_each(generated, truth)),
            (KID.key, kernel_distance_without_each(generated, truth)),
        ):
            by_clip = dict(zip(known, values.tolist(), strict=True))
            result[key] = [by_clip.get(k) for k in range(self.clips)]
        return result

    def _check(self, truth: TruthClip, names: set[str], frames: int) -> None:
        if not frames:
            raise InputError(
                truth.name,
                "expected at least one frame, found a motion without frames",
                "generate the clip again",
            )
        if self.rows and names != set(self.rows):
            raise InputError(
                truth.name,
                f"expected {sorted(self.rows)}, found rows {sorted(names)}",
                "score the same methods on every clip",
            )

    def _features(self, posed: Posed) -> dict[str, Tensor]:
        """Return FGD features by variant; empty without an encoder or for a short clip."""
        return fgd_features(self.encoder, posed) if self.encoder else {}

    def _add_features(
        self, name: str, real: dict[str, Tensor], generated: dict[str, Tensor]
    ) -> None:
        self.features.setdefault(name, []).append(generated)
        if not real:
            return
        row = self.rows[name]
        if name == GROUND_TRUTH:
            # The noise floor: every second clip takes the place of generated motion.
            row.add_features(real, truth=self.clips % 2 == 0)
        else:
            row.add_features(real, truth=True)
            row.add_features(generated, truth=False)

    def _fgd_rows(self) -> int:
        """Return the number of feature rows that FGD compares with those of ground truth."""
        counts = [
            row.fgd["published"].rows
            for name, row in self.rows.items()
            if row.fgd and name != GROUND_TRUTH
        ]
        return min(counts, default=0)

    def _warnings(self) -> list[str]:
        if self.fgd_dim is None:
            return []
        rows = self._fgd_rows()
        needed = ROWS_PER_DIMENSION * self.fgd_dim
        if rows >= needed:
            return []
        return [
            f"FGD of {rows} feature rows in {self.fgd_dim} dimensions is inflated and not"
            f" comparable: an estimate needs at least {needed} rows"
        ]


def _event_scores(
    motion: SmplxMotion, posed: Posed, events: Sequence[dict[str, Any]]
) -> ClipScores:
    """Return the scores of events of one clip; a clip without events of the legs has none."""
    lower = lower_event_f1(posed.joints.double().cpu().numpy(), events)
    return {
        EVENT_F1.key: {"corrected": (event_f1(motion, events), 1.0)},
        EVENT_F1_LOWER.key: {"corrected": (None, 0.0) if math.isnan(lower) else (lower, 1.0)},
    }


def _mean(clips: Sequence[ClipScores], key: str) -> float | None:
    """Return the weighted mean of a corrected metric over clips that have it; None without one."""
    scores = [clip[key]["corrected"] for clip in clips if "corrected" in clip.get(key, {})]
    known = [(value, weight) for value, weight in scores if value is not None and weight > 0]
    if not known:
        return None
    values, weights = np.array(known).T
    return float(np.average(values, weights=weights))


def _table_row(clip: str, name: str, frames: int, scores: ClipScores) -> dict[str, Any]:
    values = {
        f"{metric}_{variant}": value
        for metric, variants in scores.items()
        for variant, (value, _) in variants.items()
        if metric not in EVENTS
    }
    for key in EVENTS:
        values[key], _ = scores.get(key, {}).get("corrected", (None, 0.0))
    return {"clip": clip, "row": name, "frames": frames, **values}
