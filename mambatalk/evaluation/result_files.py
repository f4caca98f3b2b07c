"""Score the result files of any method, for `mambatalk evaluate`."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mambatalk.console import Progress
from mambatalk.corpus.semantics import read_semantics
from mambatalk.corpus.wave import read_wav
from mambatalk.errors import InputError
from mambatalk.evaluation.intervals import fgd_interval, kernel_interval, mean_interval
from mambatalk.evaluation.notes import Lengths, notes_on_inputs, notes_on_lengths, notes_on_names
from mambatalk.evaluation.pairing import ClipFiles, pair_files
from mambatalk.evaluation.posing import Poser
from mambatalk.evaluation.score import Evaluation, TruthClip
from mambatalk.metrics.beats import joint_speed
from mambatalk.metrics.catalogue import DEEPEST, GROUND_TRUTH, KID
from mambatalk.models.fgd.network import FGDEncoder
from mambatalk.motion.body import Body, load_body
from mambatalk.motion.clip import SmplxMotion
from mambatalk.motion.skeleton import FPS, JOINT_COUNT
from mambatalk.motion.stand_in.model import write_stand_in

RESULT = "result"
"""Name of the scored method's row."""


def evaluate(
    result: str | Path,
    truth: str | Path,
    audio: str | Path,
    *,
    semantics: str | Path | None = None,
    body: str | Path | None = None,
    fgd_encoder: FGDEncoder | None = None,
    mean_velocity: str | Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Score result files of any method against ground truth.

    Args:
        result: A result npz, or a folder of them. Folders are matched by clip name.
        truth: Ground truth npz, or a folder of them.
        audio: Speech wav, or a folder of them.
        semantics: Semantic annotation, or a folder of them. If None, SRGR is null.
        body: SMPL-X npz. If None, use the stand-in body.
        fgd_encoder: Encoder for FGD. If None, FGD is null.
        mean_velocity: npy of mean joint speeds (55,) for BC. If None, use those of the ground truth
            given.
        progress: Called after each clip.

    Returns:
        The content of `metrics.json`, with "intervals" (95 %, by row, metric and variant),
        "per_clip" (table rows) and "notes" (limits of the numbers) beside it.

    Raises:
        InputError: A file is missing, broken, or not at 30 frames per second.

    """
    annotations = None if semantics is None else Path(semantics)
    clips = pair_files(Path(result), Path(truth), Path(audio), annotations)
    model = load_body(body) if body else _stand_in()
    if mean_velocity is None:
        speeds = mean_joint_speed([_read_motion(clip.truth) for clip in clips], model)
    else:
        speeds = _read_speeds(Path(mean_velocity))
    evaluation = Evaluation(
        body=model,
        mean_velocity=speeds,
        fgd_encoder=fgd_encoder,
        fidelity=None,
    )

    table = []
    lengths = []
    for done, clip in enumerate(clips, start=1):
        recording = _read_recording(clip)
        motion = _read_motion(clip.result)
        lengths.append(Lengths.of(recording, motion))
        table += evaluation.add(recording, {RESULT: motion})
        if progress is not None:
            progress(done, len(clips))

    scores = evaluation.result()
    notes = [
        *scores["warnings"],
        *notes_on_names(clips),
        *notes_on_lengths(lengths),
        *notes_on_inputs(scores, body=body is not None, mean_velocity=mean_velocity is not None),
    ]
    return scores | {"intervals": _intervals(evaluation), "per_clip": table, "notes": notes}


def mean_joint_speed(motions: Sequence[SmplxMotion], body: Body) -> NDArray[np.float64]:
    """Return the mean speed (55,) of each joint in metres per second over all frames.

    The speeds include the translation of the body. Source: published loader, whose stored speeds
    include the movement of the pelvis.
    """
    poser = Poser(body)
    total = np.zeros(JOINT_COUNT)
    frames = 0
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
            "use mean_vel_smplxflame_30.npy of the corpus",
        ) from None


def _read_recording(clip: ClipFiles) -> TruthClip:
    return TruthClip(
        name=clip.name,
        motion=_read_motion(clip.truth),
        waveform=read_wav(clip.audio)[0],
        semantics=read_semantics(clip.semantics) if clip.semantics else None,
    )


def _read_motion(path: Path) -> SmplxMotion:
    motion = SmplxMotion.read(path)
    if motion.fps != FPS:
        raise InputError(
            f"{path}: mocap_frame_rate",
            f"expected {FPS}, found {motion.fps:g}",
            "resample the motion to 30 frames per second first",
        )
    for name in ("poses", "expressions", "trans", "betas"):
        if not np.isfinite(getattr(motion, name)).all():
            raise InputError(
                f"{path}: {name}",
                "expected finite numbers, found NaN or infinity",
                "generate the clip again",
            )
    return motion


def _intervals(evaluation: Evaluation) -> dict[str, Any]:
    """Return intervals by row, metric and variant; None where there are too few clips.

    The deepest penetration is a maximum and has none. Ground truth has none of FGD and kernel
    distance, because these compare halves of its clips.
    """
    intervals: dict[str, Any] = {}
    for name, clips in evaluation.scores.items():
        intervals[name] = {
            metric: {
                variant: mean_interval([clip[metric][variant] for clip in clips])
                for variant in variants
            }
            for metric, variants in clips[0].items()
            if metric != DEEPEST
        }
        if name != GROUND_TRUTH:
            pairs = zip(evaluation.features[name], evaluation.features[GROUND_TRUTH], strict=True)
            known = [(generated, truth) for generated, truth in pairs if truth]
            intervals[name]["fgd"] = {
                variant: fgd_interval(*_features(known, variant))
                for variant in evaluation.rows[name].fgd
            }
            if known:
                interval = kernel_interval(*_features(known, "corrected"))
                intervals[name][KID.key] = {"corrected": interval}
    return intervals


def _features(
    pairs: Sequence[tuple[dict[str, Tensor], dict[str, Tensor]]], variant: str
) -> tuple[list[Tensor], list[Tensor]]:
    """Return the features of one variant of all clips: those of the method, and of the truth."""
    return [first[variant] for first, _ in pairs], [second[variant] for _, second in pairs]
