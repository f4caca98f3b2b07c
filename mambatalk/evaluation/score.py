"""Scoring: motions of several methods beside ground truth, clip by clip, to the rows of
`metrics.json`.

What a row says is read beside two others: ground truth, whose FGD is that of every second clip
against the rest (the noise floor), and the baselines of `baselines.py`.
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
    """One clip as it was recorded."""

    name: str
    motion: SmplxMotion
    """Every method is posed on the shape of this one."""
    wave: NDArray[np.float32]
    """(S,) at 16 kHz."""
    semantics: Sequence[Annotation] | None = None
    events: Sequence[dict[str, Any]] | None = None
    """Events that the sample's motion rules wrote. None for recorded clips."""


class Evaluation:
    """Feeds clips to the metrics; holds one clip at a time and sums.

    Args:
        body: Poses joints and faces.
        mean_velocity: Mean joint speeds (55,) in metres a second over training clips, for BC; none
            leaves BC null.
        fgd_encoder: Encodes 6D poses for FGD; none leaves it null.
        fidelity: What the scored bundle follows; none for files of unknown making.
        keep_clips: Keep each clip's FGD features (m, D) in `features` and its weighted values in
            `scores`, which confidence intervals need.

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
        self.body_kind, self.fidelity = body.kind, fidelity
        self.mean_velocity = mean_velocity
        self.encoder = fgd_encoder.eval() if fgd_encoder is not None else None
        self.fgd_dim = fgd_encoder.latent if fgd_encoder is not None else None
        self.poser = Poser(body)
        self.rows: dict[str, Row] = {}
        self.event_scores: dict[str, list[float]] = {}
        self.keep_clips = keep_clips
        self.features: dict[str, list[dict[str, Tensor]]] = {}
        self.scores: dict[str, list[ClipScores]] = {}
        self.clips = self.frames = 0

    @torch.no_grad()
    def add(self, truth: TruthClip, motions: Mapping[str, SmplxMotion]) -> list[dict[str, Any]]:
        """Score one clip, cut to the frames that all motions have.

        Args:
            truth: The clip as recorded.
            motions: Motion of each row but ground truth; the same rows for every clip.

        Returns:
            One table row for each motion and for ground truth.

        Raises:
            InputError: A motion is empty, or the rows are not those of the clips before.

        """
        everything = {GROUND_TRUTH: truth.motion, **motions}
        frames = min(len(motion) for motion in everything.values())
        self._check(truth, set(everything), frames)
        betas = truth.motion.betas
        actual = self.poser.pose(truth.motion[:frames], betas)
        weights = (
            torch.from_numpy(semantic_weights(truth.semantics, frames)) if truth.semantics else None
        )
        real = self._features(actual)
        table = []
        for name, motion in everything.items():
            posed = actual if name == GROUND_TRUTH else self.poser.pose(motion[:frames], betas)
            row = self.rows.setdefault(name, Row(self.mean_velocity, self.fgd_dim))
            scores = row.add(
                posed, actual, wave=truth.wave, weights=weights, still=self.poser.still
            )
            if self.keep_clips:
                self.scores.setdefault(name, []).append(scores)
            self._add_features(name, real, real if name == GROUND_TRUTH else self._features(posed))
            score = self._event_f1(name, motion[:frames], truth)
            table.append(_flat(truth.name, name, frames, scores, score))
        self.clips += 1
        self.frames += frames
        return table

    def result(self) -> dict[str, Any]:
        """The content of `metrics.json`: raw units (metres, square metres), null where undefined.

        Raises:
            InputError: No clip was added.

        """
        if not self.clips:
            raise InputError(
                "evaluation", "expected at least one, found no clip", "check the split it runs on"
            )
        notes = self._notes()
        for note in notes:
            _LOG.warning(note)
        event_scores = {
            name: float(np.mean(self.event_scores[name])) if name in self.event_scores else None
            for name in self.rows
        }
        return {
            "rows": {name: row.compute() for name, row in self.rows.items()},
            "event_f1": event_scores,
            "clips": self.clips,
            "frames": self.frames,
            "fgd_rows": self._fgd_rows(),
            "body": self.body_kind,
            "fidelity": self.fidelity,
            "warnings": notes,
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
        """By variant; none without an encoder, or for a clip too short for it."""
        return fgd_features(self.encoder, posed) if self.encoder else {}

    def _add_features(
        self, name: str, real: dict[str, Tensor], generated: dict[str, Tensor]
    ) -> None:
        """Truth against truth takes every second clip for generated."""
        if not real:
            return
        row = self.rows[name]
        if name == GROUND_TRUTH:
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
        """Feature rows of ground truth that each method is held against."""
        counts = [
            row.fgd["published"].rows
            for name, row in self.rows.items()
            if row.fgd and name != GROUND_TRUTH
        ]
        return min(counts, default=0)

    def _notes(self) -> list[str]:
        rows = self._fgd_rows()
        if self.fgd_dim is None or rows >= ROWS_PER_DIMENSION * self.fgd_dim:
            return []
        return [
            f"FGD of {rows} feature rows in {self.fgd_dim} dimensions is inflated and not comparable: "
            f"{ROWS_PER_DIMENSION * self.fgd_dim} rows are the least for an estimate"
        ]


def _flat(
    clip: str, name: str, frames: int, scores: ClipScores, event_score: float | None
) -> dict[str, Any]:
    flat = {
        f"{metric}_{variant}": value
        for metric, variants in scores.items()
        for variant, (value, _) in variants.items()
    }
    return {"clip": clip, "row": name, "frames": frames, **flat, "event_f1": event_score}
