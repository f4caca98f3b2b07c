"""Generate the motion of recordings, however long."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

import mambatalk
from mambatalk.audio.channels import VARIANCE_FLOOR
from mambatalk.audio.recording import Recording
from mambatalk.console import Progress
from mambatalk.corpus.textgrid import Interval, read_textgrid
from mambatalk.errors import InputError
from mambatalk.export.rest import rest_joints
from mambatalk.files import read_json, write_json
from mambatalk.motion.clip import SmplxMotion
from mambatalk.motion.feet import lock_feet
from mambatalk.motion.rotations import axis_angle_to_6d
from mambatalk.motion.skeleton import (
    EXPRESSION_DIM,
    FOOT_JOINTS,
    FPS,
    JOINT_COUNT,
    SAMPLE_RATE,
)
from mambatalk.serving.output import Bodies, drawing_speed, write_motion
from mambatalk.synthesis.bundle import Bundle
from mambatalk.synthesis.encoding import windows_together
from mambatalk.synthesis.precision import Precision, is_small
from mambatalk.synthesis.sampling import Sampling
from mambatalk.synthesis.streaming import stream
from mambatalk.synthesis.synthesizer import Synthesizer
from mambatalk.text.words import frame_words

SILENCE: Final = 1e-3
"""Peak below which a recording is called silent."""
LICENCE: Final = (
    "The software is under Apache-2.0. The weights carry the terms of the data that they were"
    " trained on (BEAT2 is for non-commercial use), and so does motion made with them. Meshes carry"
    " the terms of their body model (SMPL-X has its own licence)."
)

Bar = Callable[[str], AbstractContextManager[Progress]]
"""Draws a progress bar with a description, such as `console.progress_bar`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """A bundle that is ready to generate, and its digest."""

    synthesizer: Synthesizer
    digest: str

    @classmethod
    def load(
        cls,
        folder: Path,
        device: torch.device,
        sampling: Sampling | None = None,
        precision: Precision | None = None,
    ) -> "Model":
        """Load a bundle, and use one thread on a CPU if the model is small.

        A bundle of published fidelity also generates every frame, can start from the rest pose, and
        cuts the audio of a window exactly. All else is as published.

        Raises:
            InputError: The bundle is missing or damaged.

        """
        bundle = Bundle.load(folder).to(device)
        rules = replace(
            bundle.rules, cover_all_frames=True, start_from_rest_pose=True, exact_audio_slice=True
        )
        synthesizer = Synthesizer(bundle, rules=rules, sampling=sampling, precision=precision)
        if device.type == "cpu" and is_small(bundle.generator):
            torch.set_num_threads(1)
        return cls(synthesizer=synthesizer, digest=read_json(folder / "bundle.json")["digest"])

    @property
    def notes(self) -> list[str]:
        """What to know about this model's motion."""
        if self.synthesizer.bundle.rules.text_dropout:
            return []
        return [
            "published weights: they were trained with words and with CTC ids of"
            " facebook/wav2vec2-base-960h, which generate does not compute, and on continuing"
            " recorded motion (--start-pose); without these expect worse motion than in the paper"
        ]


@dataclass(frozen=True, kw_only=True)
class Request:
    """One recording, and what to make of it."""

    speech: Path
    out: Path
    """Folder of the results."""
    formats: tuple[str, ...] = ("npz",)
    speaker_id: int
    textgrid: Path | None = None
    """Words of the recording. If None, use audio only."""
    start_pose: Path | None = None
    """Motion whose first four frames the result starts with. If None, start from the rest pose."""
    side_by_side: Path | None = None
    """Recorded motion that the video shows beside the generated one."""
    fix_feet: bool = False
    """Hold planted feet still if the bundle does not, such as a bundle of published weights."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What was made of one recording."""

    seconds: float
    """Duration of the motion."""
    files: tuple[Path, ...]
    notes: list[str] = field(default_factory=list)
    video: str | None = None
    """How the video was drawn."""


def generate_files(model: Model, bodies: Bodies, request: Request, bar: Bar) -> Result:
    """Generate the motion of one recording and write it, with a JSON file that says how.

    Files are named after the recording. Memory grows by 32 kB per second of motion, and for a video
    by 64 kB per second of audio.

    Args:
        model: The model.
        bodies: Body for meshes and skeletons.
        request: Recording, formats and options.
        bar: Draws a progress bar.

    Raises:
        InputError: The recording, the TextGrid, the start pose, the recorded motion or the speaker
            is bad, or a file cannot be written.

    """
    began = time.perf_counter()
    recording = Recording(request.speech)
    truth = None if request.side_by_side is None else _recorded_motion(request.side_by_side)
    words = None if request.textgrid is None else read_textgrid(request.textgrid).words
    start = None if request.start_pose is None else start_motion(request.start_pose)
    with bar(f"generating {request.speech.name}") as progress:
        motion, notes = recording_motion(
            model.synthesizer,
            recording,
            speaker_id=request.speaker_id,
            words=words,
            start=start,
            progress=progress,
        )
    if request.fix_feet:
        motion = _fixed_feet(model, motion, bodies, notes)
    generated = time.perf_counter()
    if truth is not None and len(truth) < len(motion):
        notes.append(f"{request.side_by_side}: the video ends with it at {len(truth) / FPS:.1f} s")

    files = []
    video = None
    for name in request.formats:
        path = request.out / f"{request.speech.stem}.{name}"
        started = time.perf_counter()
        with bar(f"writing {path.name}") as progress:
            write_motion(path, motion, recording, bodies, progress, words=words, truth=truth)
        files.append(path)
        if name == "mp4":
            # The video ends with the shorter motion.
            drawn_frames = len(motion) if truth is None else min(len(motion), len(truth))
            video = drawing_speed(drawn_frames, time.perf_counter() - started)
    if bodies.path is None and request.formats != ("npz",):
        notes.append("no body model: the figure is the stand-in body (--body SMPLX_NEUTRAL.npz)")
    sidecar = request.out / f"{request.speech.stem}.json"
    sampling = model.synthesizer.choice.sampling
    write_json(
        sidecar,
        {
            "bundle": model.digest,
            "fidelity": model.synthesizer.bundle.fidelity,
            "options": {
                "speech": _text(request.speech),
                "speaker_id": request.speaker_id,
                "textgrid": _text(request.textgrid),
                "start_pose": _text(request.start_pose),
                "side_by_side": _text(request.side_by_side),
                "fix_feet": request.fix_feet,
                "sampling": asdict(sampling) if sampling else None,
            },
            "precision": model.synthesizer.precision,
            "body": None if request.formats == ("npz",) else bodies.body.kind,
            "frames": len(motion),
            "fps": FPS,
            "files": [path.name for path in files],
            "notes": [*model.notes, *notes],
            "seconds_to_generate": round(generated - began, 3),
            "versions": {
                "mambatalk": mambatalk.__version__,
                **{name: version(name) for name in ("torch", "numpy")},
            },
            "licence": LICENCE,
        },
    )
    return Result(seconds=len(motion) / FPS, files=(*files, sidecar), notes=notes, video=video)


def start_motion(path: Path) -> NDArray[np.float32]:
    """Read the motion (4, 337) that a clip starts with: the first four frames of an npz.

    A shorter file is continued with its last frame. Feet count as standing.

    Raises:
        InputError: The file is not an npz of SMPL-X motion.

    """
    motion = SmplxMotion.read(path)
    frames = np.minimum(np.arange(4), len(motion) - 1)
    poses = torch.from_numpy(np.asarray(motion.poses[frames], np.float32))
    rotations = axis_angle_to_6d(poses.unflatten(-1, (JOINT_COUNT, 3))).flatten(1).numpy()
    contacts = np.ones((len(frames), len(FOOT_JOINTS)))
    channels = np.concatenate([rotations, motion.trans[frames], contacts], axis=1)
    if not np.isfinite(channels).all():
        raise InputError(path, "expected finite numbers, found NaN or infinity", "export it again")
    return channels.astype(np.float32)


def _fixed_feet(model: Model, motion: SmplxMotion, bodies: Bodies, notes: list[str]) -> SmplxMotion:
    """Hold the planted feet of a motion still, or note that the bundle has done so."""
    synthesizer = model.synthesizer
    if synthesizer.rules.locked_feet and synthesizer.bundle.rest_joints is not None:
        notes.append("the bundle holds planted feet still itself: --fix-feet changes nothing")
        return motion
    return lock_feet(motion, rest_joints(bodies.body, motion))


def _recorded_motion(path: Path) -> SmplxMotion:
    motion = SmplxMotion.read(path)
    arrays = (motion.poses, motion.expressions, motion.trans, motion.betas)
    if not all(np.isfinite(array).all() for array in arrays):
        raise InputError(path, "expected finite numbers, found NaN or infinity", "export it again")
    if motion.fps != FPS:
        raise InputError(
            path,
            f"expected {FPS} frames per second, found {motion.fps:g}",
            "export it at that rate",
        )
    return motion


def recording_motion(
    synthesizer: Synthesizer,
    recording: Recording,
    *,
    speaker_id: int,
    words: Sequence[Interval] | None,
    start: NDArray[np.float32] | None,
    progress: Progress,
) -> tuple[SmplxMotion, list[str]]:
    """Generate the motion of a recording, which is decoded twice instead of kept in memory.

    Args:
        synthesizer: Synthesis that covers all frames.
        recording: The speech.
        speaker_id: Id of the speaker in the corpus that the bundle was trained on.
        words: Words with their times. If None, use audio only.
        start: Motion (4, 337) of the first frames. If None, start from the rest pose.
        progress: Called with the number of finished frames and the total.

    Returns:
        Motion of every frame of the recording, and what to tell the user.

    Raises:
        InputError: The recording cannot be decoded, or the speaker is unknown.

    """
    samples, peak, statistics = _statistics(recording)
    frames = samples * FPS // SAMPLE_RATE
    bundle = synthesizer.bundle
    notes = []
    if recording.truncated_at is not None:
        notes.append(
            f"{recording.name}: the file is truncated; motion ends with the audio at"
            f" {recording.truncated_at:.1f} s"
        )
    if peak < SILENCE:
        notes.append(f"{recording.name}: the recording is silent")
    word_ids = None
    if words is None:
        notes.append("no TextGrid: motion from the audio alone")
    elif not bundle.vocabulary:
        notes.append("the bundle has no vocabulary: motion from the audio alone")
    else:
        word_ids = frame_words(words, bundle.vocabulary, frames, rules=synthesizer.rules)

    motion = SmplxMotion(
        poses=np.empty((frames, 3 * JOINT_COUNT), np.float32),
        expressions=np.empty((frames, EXPRESSION_DIM), np.float32),
        trans=np.empty((frames, 3), np.float32),
    )
    done = 0
    for piece in stream(
        synthesizer,
        recording.chunks(),
        speaker_id=speaker_id,
        words=word_ids,
        initial_motion=start,
        statistics=statistics,
        together=windows_together(synthesizer.device),
    ):
        target = motion[done : done + len(piece)]
        target.poses[:] = piece.poses
        target.expressions[:] = piece.expressions
        target.trans[:] = piece.trans
        done += len(piece)
        progress(done, frames)
    return synthesizer.lock_feet(motion), notes


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path.resolve())


def _statistics(recording: Recording) -> tuple[int, float, tuple[float, float]]:
    """Return number of samples, peak, and mean and deviation as `wave_statistics` does."""
    samples = 0
    peak = 0.0
    total = 0.0
    squares = 0.0
    for chunk in recording.chunks():
        samples += len(chunk)
        peak = max(peak, float(np.abs(chunk).max(initial=0)))
        total += float(chunk.sum(dtype=np.float64))
        squares += float(np.square(chunk, dtype=np.float64).sum())
    mean = total / samples
    variance = max(0.0, squares / samples - mean**2)
    return samples, peak, (mean, float(np.sqrt(variance + VARIANCE_FLOOR)))
