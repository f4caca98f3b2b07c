"""Score motions of several methods against recordings, clip by clip.

The numbers of a method are read beside two others: those of ground truth, whose FGD compares every
second clip with the rest and so is the noise floor, and those of the baselines in `baselines.py`.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mambatalk.errors import InputError
from mambatalk.evaluation.posing import Posed, Poser
from mambatalk.evaluation.row import ClipScores, Row, fgd_features
from mambatalk.fidelity import Fidelity
from mambatalk.metrics.catalogue import EVENT_F1
from mambatalk.metrics.frechet import ROWS_PER_DIMENSION
from mambatalk.metrics.srgr import Annotation, semantic_weights
from mambatalk.models.fgd.network import FGDEncoder
from mambatalk.motion.body import Body
from mambatalk.motion.clip import SmplxMotion
from mambatalk.sample.score import event_f1

GROUND_TRUTH: Final = "ground_truth"
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

    Memory holds one clip and running sums, for any number of clips.

    Args:
        body: Body model that poses joints and faces.
        mean_velocity: Mean joint speeds (55,) in metres per second over training clips. If None, BC
            is null.
        fgd_encoder: Encoder of 6D poses. If None, FGD is null.
        fidelity: Fidelity of the scored bundle, as stated in `metrics.json`. None for other files.
        keep_clips: Keep each clip's FGD features in `features` and its values in `scores`, which
            confidence intervals need.

    """

    def __init__(
        self,
        *,
        body: Body,
        mean_velocity: NDArray[np.floating] | None,
        fgd_encoder: FGDEncoder | None,
        fidelity: Fidelity | None,
        keep_clips: bool = False,
    ) -> None:
        self.body_kind = body.kind
        self.fidelity = fidelity
        self.mean_velocity = mean_velocity
        self.encoder = fgd_encoder.eval() if fgd_encoder is not None else None
        self.fgd_dim = fgd_encoder.latent if fgd_encoder is not None else None
        self.poser = Poser(body)
        self.rows: dict[str, Row] = {}
        self.event_scores: dict[str, list[float]] = {}
        self.keep_clips = keep_clips
        self.features: dict[str, list[dict[str, Tensor]]] = {}
        self.scores: dict[str, list[ClipScores]] = {}
        self.clips = 0
        self.frames = 0

    @torch.no_grad()
    def add(self, truth: TruthClip, motions: Mapping[str, SmplxMotion]) -> list[dict[str, Any]]:
        """Score one clip, cut to the frames that all motions have.

        Args:
            truth: The recorded clip.
            motions: The clip's motion by each method, the same methods for every clip. A row for
                ground truth is added.

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
            scores = row.add(
                posed, actual, waveform=truth.waveform, weights=weights, still=self.poser.still
            )
            if self.keep_clips:
                self.scores.setdefault(name, []).append(scores)
            self._add_features(name, real, real if is_truth else self._features(posed))
            event_score = self._event_f1(name, motion[:frames], truth)
            table.append(_table_row(truth.name, name, frames, scores, event_score))
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
        event_scores = {
            name: float(np.mean(self.event_scores[name])) if name in self.event_scores else None
            for name in self.rows
        }
        return {
            "rows": {name: row.compute() for name, row in self.rows.items()},
            EVENT_F1.key: event_scores,
            "clips": self.clips,
            "frames": self.frames,
            "fgd_rows": self._fgd_rows(),
            "body": self.body_kind,
            "fidelity": self.fidelity,
            "warnings": warnings,
        }

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
        if not real:
            return
        row = self.rows[name]
        if name == GROUND_TRUTH:
            # The noise floor: every second clip takes the place of generated motion.
            row.add_features(real, truth=self.clips % 2 == 0)
        else:
            row.add_features(real, truth=True)
            row.add_features(generated, truth=False)
        if self.keep_clips:
            self.features.setdefault(name, []).append(generated)

    def _event_f1(self, name: str, motion: SmplxMotion, truth: TruthClip) -> float | None:
        if truth.events is None:
            return None
        score = event_f1(motion, truth.events)
        self.event_scores.setdefault(name, []).append(score)
        return score

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


def _table_row(
    clip: str, name: str, frames: int, scores: ClipScores, event_score: float | None
) -> dict[str, Any]:
    values = {
        f"{metric}_{variant}": value
        for metric, variants in scores.items()
        for variant, (value, _) in variants.items()
    }
    return {"clip": clip, "row": name, "frames": frames, **values, EVENT_F1.key: event_score}
