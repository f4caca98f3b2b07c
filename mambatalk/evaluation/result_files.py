"""Scoring of result files, whoever made them: `mambatalk evaluate`."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mambatalk.corpus.semantics import read_semantics
from mambatalk.corpus.wave import read_wav
from mambatalk.errors import InputError
from mambatalk.evaluation.intervals import fgd_interval, mean_interval
from mambatalk.evaluation.notes import Lengths, notes_on_inputs, notes_on_lengths
from mambatalk.evaluation.pairing import ClipFiles, pair_files
from mambatalk.evaluation.posing import Poser
from mambatalk.evaluation.score import GROUND_TRUTH, Evaluation, TruthClip
from mambatalk.metrics.beats import joint_speed
from mambatalk.metrics.catalogue import METRICS
from mambatalk.models.fgd.network import FGDEncoder
from mambatalk.motion.body import Body, load_body
from mambatalk.motion.clip import SmplxMotion
from mambatalk.motion.skeleton import FPS
from mambatalk.motion.stand_in.model import write_stand_in

RESULT = "result"


def evaluate(
    result: str | Path,
    truth: str | Path,
    audio: str | Path,
    *,
    semantics: str | Path | None = None,
    body: Path | None = None,
    fgd: Path | None = None,
    mean_velocity: Path | None = None,
) -> dict[str, Any]:
    """Score result files of any method, or folders of them that are matched by clip name.

    Args:
        result: A result npz, or a folder of them.
        truth: Ground truth npz, or a folder of them.
        audio: Speech wav, or a folder of them.
        semantics: Semantic annotation, or a folder of them. If None, SRGR is null.
        body: As `score_files`.
        fgd: As `score_files`.
        mean_velocity: As `score_files`.

    Returns:
        The content of `metrics.json`, with "intervals", "per_clip" and "notes" beside it.

    Raises:
        InputError: A file is missing, broken, or not 30 frames a second.

    """
    given = None if semantics is None else Path(semantics)
    clips = pair_files(Path(result), Path(truth), Path(audio), given)
    return score_files(clips, body=body, fgd=fgd, mean_velocity=mean_velocity)


def score_files(
    clips: Sequence[ClipFiles],
    *,
    body: Path | None = None,
    fgd: Path | None = None,
    mean_velocity: Path | None = None,
) -> dict[str, Any]:
    """Score result files: the content of `metrics.json` with "intervals", "per_clip" and "notes"
    beside it.

    Args:
        clips: Files of each clip.
        body: SMPL-X npz; none takes the stand-in body, and a note says so.
        fgd: The published `AESKConv_240_100.bin`, or a folder with `fgd_encoder.safetensors`; none
            leaves FGD null.
        mean_velocity: npy of mean joint speeds (55,) for BC; none takes those of the ground truth
            given.

    Raises:
        InputError: A file is missing, broken, or not 30 frames a second.

    """
    model = load_body(body) if body else _stand_in()
    truths = [_motion(clip.truth) for clip in clips] if mean_velocity is None else None
    speeds = _read_speeds(mean_velocity) if mean_velocity else mean_joint_speed(truths or [], model)
    evaluation = Evaluation(
        body=model,
        mean_velocity=speeds,
        fgd_encoder=load_fgd_encoder(fgd) if fgd else None,
        fidelity=None,
        keep_clips=True,
    )
    table, lengths = [], []
    for clip in clips:
        truth, motion = _truth(clip), _motion(clip.result)
        lengths.append(Lengths.of(truth, motion))
        table += evaluation.add(truth, {RESULT: motion})
    result = evaluation.result()
    notes = [
        *result["warnings"],
        *notes_on_lengths(lengths),
        *notes_on_inputs(result["body"], body=body, fgd=fgd, mean_velocity=mean_velocity),
    ]
    return result | {"intervals": _intervals(evaluation), "per_clip": table, "notes": notes}


def load_fgd_encoder(path: Path) -> FGDEncoder:
    """The published FGD encoder out of its checkpoint, or one of ours out of its folder.

    Raises:
        InputError: Neither.

    """
    if path.is_dir():
        from mambatalk.models.fgd import storage as storing_fgd

        return storing_fgd.load_fgd_encoder(path)
    from mambatalk.published.fgd import import_fgd_encoder

    return import_fgd_encoder(path)


def mean_joint_speed(motions: Sequence[SmplxMotion], body: Body) -> NDArray[np.float64]:
    """Mean speed (55,) of each joint in metres a second over all frames, translation included.

    Source: published loader, whose stored speeds hold the pelvis' own movement.
    """
    poser, total, frames = Poser(body), np.zeros(55), 0
    for motion in motions:
        joints = poser.pose(motion, motion.betas).joints + torch.tensor(motion.trans)[:, None]
        total += joint_speed(joints.double().numpy()).sum(0)
        frames += len(joints)
    return total / frames


def _stand_in() -> Body:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "body.npz"
        write_stand_in(path)
        return load_body(path)


def _read_speeds(path: Path) -> NDArray[np.float64]:
    try:
        return np.asarray(np.load(path, allow_pickle=False), np.float64)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(
            path,
            f"expected an npy of 55 mean joint speeds, found an unreadable file ({error})",
            "take mean_vel_smplxflame_30.npy of the corpus",
        ) from None


def _truth(clip: ClipFiles) -> TruthClip:
    motion = _motion(clip.truth)
    return TruthClip(
        name=clip.name,
        motion=motion,
        wave=read_wav(clip.audio)[0],
        semantics=read_semantics(clip.semantics) if clip.semantics else None,
    )


def _motion(path: Path) -> SmplxMotion:
    motion = SmplxMotion.read(path)
    if motion.fps != FPS:
        raise InputError(
            f"{path}: mocap_frame_rate",
            f"expected {FPS}, found {motion.fps:g}",
            "resample the motion to 30 frames a second first",
        )
    if not (np.isfinite(motion.poses).all() and np.isfinite(motion.expressions).all()):
        raise InputError(
            f"{path}: poses",
            "expected numbers, found values that are not finite",
            "generate the clip again",
        )
    return motion


def _intervals(evaluation: Evaluation) -> dict[str, Any]:
    intervals: dict[str, Any] = {}
    for name, row in evaluation.rows.items():
        intervals[name] = {
            metric: {
                variant: mean_interval([clip[metric][variant] for clip in evaluation.scores[name]])
                for variant in getattr(row, metric)
            }
            for metric in METRICS
            if metric != "fgd"
        }
        if name != GROUND_TRUTH:
            generated, truth = (evaluation.features.get(side, []) for side in (name, GROUND_TRUTH))
            intervals[name]["fgd"] = {
                variant: fgd_interval(
                    [clip[variant] for clip in generated], [clip[variant] for clip in truth]
                )
                for variant in row.fgd
            }
    return intervals
