"""Write the embedded sample: a corpus in BEATX layout with synthetic speech and motion.

eSpeak NG speaks the text, and the motion rules move the body. File names, data types, key order and
irregularities are those of BEATX: float32 poses next to float64 expressions, a few WAV files in
float32, audio that is longer than the motion, all four splits. The events of the motion rules are
written to `events/ID.json`.
"""

import io
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import soundfile
from numpy.typing import NDArray

from mambatalk.console import Progress
from mambatalk.corpus.layout import FOLDERS, SPLIT_TABLE, WEIGHTS, clip_path
from mambatalk.corpus.textgrid import Interval
from mambatalk.errors import InputError
from mambatalk.executors import FailedItem, open_executor
from mambatalk.files import atomic_directory, write_json
from mambatalk.motion.skeleton import FPS, JOINT_COUNT, SAMPLE_RATE
from mambatalk.sample.motion_rules import generate_motion, joint_positions
from mambatalk.sample.plan import ClipPlan, plan_clips
from mambatalk.sample.speech_track import SpeechTrack, make_speech_track
from mambatalk.sample.style import SpeakerStyle, speaker_styles

EVENTS: Final = "events"
_ICONIC: Final = ("07_iconic_h", 0.7)
_BEAT: Final = ("01_beat_align", 0.1)
"""Semantic label and score, as in BEATX."""
_FLOAT_WAV_EVERY: Final = 7
"""Every so many clips, a WAV file holds float samples, as some in BEATX do."""
_MAX_INLINE_CLIPS: Final = 60
"""Up to this number of clips, starting processes takes longer than it saves."""

Job = tuple[Path, ClipPlan, NDArray[np.float64]]
"""Root of the corpus, clip, and rest joints (55, 3) of its speaker in metres."""
SpeedSum = tuple[int, NDArray[np.float64]]
"""Number of steps between frames, and joint speeds (55,) in m/s summed over them."""


def write_sample(
    out_dir: str | Path,
    *,
    hours: float,
    speakers: int,
    seed: int,
    workers: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Write a sample corpus of any length.

    The same arguments give the same bytes for any number of processes.

    Args:
        out_dir: Folder to create; an earlier sample there is replaced.
        hours: Hours of motion, at least 0.017.
        speakers: Number of speakers, at least 1.
        seed: Seed for the text, the pauses, the steps and the noise.
        workers: Number of processes. If None, one for a small sample and one per core for a large
            one.
        progress: Called after each clip with the number of finished clips and of all clips.

    Raises:
        InputError: `out_dir` holds other files, the sample is too short, eSpeak NG is missing, or
            the disk is full.

    """
    out_dir = Path(out_dir)
    _check_target(out_dir)
    if speakers < 1:
        raise InputError(
            "speakers", f"expected at least 1, found {speakers}", "set a larger number"
        )
    styles = speaker_styles(speakers)
    plans = plan_clips(styles, hours=hours, seed=seed)
    rest = _rest_joints(styles)
    if workers is None:
        workers = 1 if len(plans) <= _MAX_INLINE_CLIPS else os.cpu_count() or 1

    with atomic_directory(out_dir) as root:
        for folder in [*(folder for folder, _ in FOLDERS.values()), WEIGHTS, EVENTS]:
            (root / folder).mkdir()
        jobs = [(root, plan, rest[plan.style.speaker_id]) for plan in plans]
        steps = 0
        speed = np.zeros(JOINT_COUNT)
        finished = zip(plans, _run(jobs, workers), strict=True)
        for count, (plan, (clip_steps, clip_speed)) in enumerate(finished, start=1):
            if plan.split == "train":
                steps += clip_steps
                speed += clip_speed
            if progress is not None:
                progress(count, len(plans))

        mean_speed = (speed / steps).astype(np.float32)
        np.save(root / WEIGHTS / "mean_vel_smplxflame_30.npy", mean_speed)
        rows = sorted((plan.clip, plan.split) for plan in plans)
        lines = ["id,type", *(f"{clip},{split}" for clip, split in rows)]
        (root / SPLIT_TABLE).write_text("\n".join(lines) + "\n")


def sample_origin(*, hours: float, speakers: int, seed: int) -> dict[str, str]:
    """Return what a snapshot states about a sample, with the arguments of `write_sample`."""
    return {
        "name": "embedded sample of MambaTalk",
        "licence": "Apache-2.0",
        "method": (
            f"mambatalk sample --hours {hours:g} --speakers {speakers} --seed {seed}: speech by "
            "eSpeak NG, motion by written rules; no recording of a person"
        ),
    }


def _check_target(out_dir: Path) -> None:
    if out_dir.exists() and not out_dir.is_dir():
        raise InputError(out_dir, "expected a folder, found a file", "choose another folder")
    if out_dir.is_dir() and any(out_dir.iterdir()) and not (out_dir / EVENTS).is_dir():
        raise InputError(
            out_dir,
            "expected a new folder or an earlier sample, found a folder with other content",
            "choose another folder",
        )


def _rest_joints(styles: list[SpeakerStyle]) -> dict[int, NDArray[np.float64]]:
    """Return the rest joints (55, 3) of each speaker's stand-in body, metres."""
    # Imported here so that worker processes, which import this module, start without torch.
    import torch

    from mambatalk.motion.body import load_body
    from mambatalk.motion.stand_in.model import write_stand_in

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "body.npz"
        write_stand_in(path)
        body = load_body(path)
    return {
        style.speaker_id: body.rest_joints(torch.from_numpy(style.betas)).double().numpy()
        for style in styles
    }


def _run(jobs: list[Job], workers: int) -> Iterator[SpeedSum]:
    with open_executor(workers) as executor:
        for job, result in zip(jobs, executor.map(_make_clip, jobs), strict=True):
            if isinstance(result, FailedItem):
                raise RuntimeError(f"clip {job[1].clip}: {result.reason}")
            yield result


def _make_clip(job: Job) -> SpeedSum:
    """Write all files of one clip and return the sum of its joint speeds."""
    root, plan, rest = job
    random = np.random.default_rng(plan.seed)
    track = make_speech_track(plan.style, seconds=plan.seconds, random=random)
    generated = generate_motion(track, plan.style, rest, random)
    generated.motion.write(clip_path(root, plan.clip, "motion"))
    subtype = "FLOAT" if plan.clip.start % _FLOAT_WAV_EVERY == 0 else "PCM_16"
    _write_wave(clip_path(root, plan.clip, "wave"), track.wave, subtype)
    _write_textgrid(clip_path(root, plan.clip, "textgrid"), track)
    _write_semantics(clip_path(root, plan.clip, "semantics"), track, generated.events)
    write_json(root / EVENTS / f"{plan.clip}.json", generated.events)
    steps = np.diff(joint_positions(generated.motion, rest), axis=0)
    return len(steps), np.linalg.norm(steps, axis=-1).sum(axis=0) * FPS


def _write_wave(path: Path, waveform: NDArray[np.float32], subtype: str) -> None:
    file = io.BytesIO()
    soundfile.write(file, waveform, SAMPLE_RATE, format="WAV", subtype=subtype)
    data = bytearray(file.getvalue())
    # libsndfile stores the current time in the PEAK chunk of float files, after the chunk's name,
    # size and version (4 bytes each). Clear it, so that the same seed gives the same bytes.
    peak_chunk = data.find(b"PEAK", 0, data.find(b"data"))
    if peak_chunk >= 0:
        data[peak_chunk + 12 : peak_chunk + 16] = bytes(4)
    path.write_bytes(data)


def _write_textgrid(path: Path, track: SpeechTrack) -> None:
    # The pipeline also imports this module without the extra `sample`.
    from textgrid import IntervalTier, TextGrid

    end = len(track.wave) / SAMPLE_RATE
    grid = TextGrid(maxTime=end)
    for name, intervals in (("words", track.words), ("phones", track.phones)):
        tier = IntervalTier(name, 0, end)
        for interval in _contiguous(intervals, end):
            tier.add(interval.start, interval.end, interval.text)
        grid.append(tier)
    grid.write(str(path))


def _contiguous(intervals: Iterable[Interval], end: float) -> Iterator[Interval]:
    """Fill the gaps with silences up to `end` seconds, as aligners do."""
    clock = 0.0
    for interval in intervals:
        if interval.start > clock:
            yield Interval(clock, interval.start, "")
        yield Interval(max(interval.start, clock), interval.end, interval.text)
        clock = interval.end
    if clock < end:
        yield Interval(clock, end, "")


def _write_semantics(path: Path, track: SpeechTrack, events: list[dict[str, Any]]) -> None:
    """Write rows without gaps from 0 to the end of the motion; iconic rows have a keyword."""
    rows = []
    clock = 0.0
    end = round(track.frames / FPS, 3)
    for event in events:
        if event["kind"] == "word_gesture":
            start = round(max(clock, event["time"] - 0.4), 3)
            stop = round(min(end, event["time"] + 0.5), 3)
            rows.append((*_BEAT, clock, start, ""))
            rows.append((*_ICONIC, start, stop, event["word"]))
            clock = stop
    rows.append((*_BEAT, clock, end, ""))
    lines = [
        f"{label}\t{start:g}\t{stop:g}\t{stop - start:.6g}\t{score}\t{word}\n"
        for label, score, start, stop, word in rows
        if stop > start
    ]
    path.write_text("".join(lines))
