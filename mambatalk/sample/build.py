"""The embedded sample: a corpus in BEATX layout to the letter, spoken by eSpeak NG and moved by a
known law.

Names, types, key order and oddities follow the real data: float32 poses beside float64 expressions,
a few wavs in float32, sound that outlasts motion, all four splits. What the law did is written to
`events/ID.json` beside them.
"""

import multiprocessing
import os
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from mambatalk.corpus.layout import FOLDERS, SPLIT_TABLE, WEIGHTS, clip_path
from mambatalk.corpus.snapshot import Progress
from mambatalk.corpus.textgrid import Interval
from mambatalk.errors import InputError
from mambatalk.files import atomic_directory, write_json
from mambatalk.motion.skeleton import FPS, JOINT_COUNT, SAMPLE_RATE
from mambatalk.sample.motion_rules import Performance, joint_positions, perform
from mambatalk.sample.plan import ClipPlan, plan_clips
from mambatalk.sample.style import Style, speaker_styles
from mambatalk.sample.track import Track, make_track

EVENTS = "events"
_ICONIC = ("07_iconic_h", 0.7)
_BEAT = ("01_beat_align", 0.1)
_FLOAT_WAV_EVERY = 7
_INLINE_CLIPS = 60
"""Up to so many clips, starting processes costs more than it saves."""

Job = tuple[Path, ClipPlan, NDArray[np.float64]]


def write_sample(
    out_dir: str | Path,
    *,
    hours: float,
    speakers: int,
    seed: int,
    workers: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Write a corpus of any length; the same arguments give the same bytes, however many processes
    work.

    Args:
        out_dir: Folder to make; an earlier sample there is replaced.
        hours: Hours of motion, at least 0.017.
        speakers: Number of speakers, at least 1.
        seed: Decides what is said and what no sound can tell.
        workers: Processes; none takes one for a small sample and one per core for a large one.
        progress: Told after each clip.

    Raises:
        InputError: `out_dir` holds something else, the sample is too short, eSpeak NG is missing,
            the disk is full.

    """
    out_dir = Path(out_dir)
    _check_target(out_dir)
    if speakers < 1:
        raise InputError(
            "speakers", f"expected at least 1, found {speakers}", "ask for more speakers"
        )
    styles = speaker_styles(speakers)
    plans = plan_clips(styles, hours=hours, seed=seed)
    rest = _rest_joints(styles)
    workers = workers or (1 if len(plans) <= _INLINE_CLIPS else os.cpu_count() or 1)
    with atomic_directory(out_dir) as root:
        for folder in [*(folder for folder, _ in FOLDERS.values()), WEIGHTS, EVENTS]:
            (root / folder).mkdir()
        jobs = [(root, plan, rest[plan.style.speaker]) for plan in plans]
        sums = np.zeros(JOINT_COUNT + 1)
        for done, (plan, speed) in enumerate(zip(plans, _run(jobs, workers), strict=True), start=1):
            sums += speed if plan.split == "train" else 0
            if progress is not None:
                progress(done, len(plans))
        np.save(
            root / WEIGHTS / "mean_vel_smplxflame_30.npy", (sums[1:] / sums[0]).astype(np.float32)
        )
        lines = sorted((plan.clip, plan.split) for plan in plans)
        (root / SPLIT_TABLE).write_text(
            "id,type\n" + "".join(f"{clip},{split}\n" for clip, split in lines)
        )


def _check_target(out_dir: Path) -> None:
    if out_dir.exists() and not out_dir.is_dir():
        raise InputError(out_dir, "expected a folder, found a file", "name another place")
    if out_dir.is_dir() and any(out_dir.iterdir()) and not (out_dir / EVENTS).is_dir():
        raise InputError(
            out_dir,
            "expected a new folder, or an earlier sample, found a folder with other content",
            "name another place",
        )


def _rest_joints(styles: list[Style]) -> dict[int, NDArray[np.float64]]:
    """Rest joints (55, 3) of each speaker's stand-in body, metres."""
    import torch

    from mambatalk.motion.body import load_body
    from mambatalk.motion.stand_in.model import write_stand_in

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "body.npz"
        write_stand_in(path)
        body = load_body(path)
    return {
        style.speaker: body.rest_joints(torch.from_numpy(style.betas)).double().numpy()
        for style in styles
    }


def _run(jobs: list[Job], workers: int) -> Iterator[NDArray[np.float64]]:
    if workers == 1:
        yield from map(_make_clip, jobs)
        return
    # Fresh processes: a fork of one that runs threads may hang.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(_make_clip, jobs)


def _make_clip(job: Job) -> NDArray[np.float64]:
    """Write all files of one clip; return the number of its frames and the sums of its joints'
    speeds, 1 + 55.
    """
    root, plan, rest = job
    random = np.random.default_rng(plan.seed)
    track = make_track(plan.style, seconds=plan.seconds, random=random)
    performance = perform(track, plan.style, rest, random)
    performance.motion.write(clip_path(root, plan.clip, "motion"))
    subtype = "FLOAT" if plan.clip.start % _FLOAT_WAV_EVERY == 0 else "PCM_16"
    soundfile.write(clip_path(root, plan.clip, "wave"), track.wave, SAMPLE_RATE, subtype=subtype)
    _write_textgrid(clip_path(root, plan.clip, "textgrid"), track)
    _write_semantics(clip_path(root, plan.clip, "semantics"), track, performance)
    write_json(root / EVENTS / f"{plan.clip}.json", performance.events)
    steps = np.diff(joint_positions(performance.motion, rest), axis=0)
    return np.concatenate([[len(steps)], np.linalg.norm(steps, axis=-1).sum(axis=0) * FPS])


def _write_textgrid(path: Path, track: Track) -> None:
    # The pipeline imports this module where the extra `sample` is not installed.
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
    """Fill gaps with silences, as aligners do."""
    clock = 0.0
    for interval in intervals:
        if interval.start > clock:
            yield Interval(clock, interval.start, "")
        yield Interval(max(interval.start, clock), interval.end, interval.text)
        clock = interval.end
    if clock < end:
        yield Interval(clock, end, "")


def _write_semantics(path: Path, track: Track, performance: Performance) -> None:
    """Rows without gaps from 0 to the end of the motion; keywords on iconic rows only."""
    rows, clock, end = [], 0.0, round(track.frames / FPS, 3)
    for event in performance.events:
        if event["kind"] == "word_gesture":
            start, stop = (
                round(max(clock, event["time"] - 0.4), 3),
                round(min(end, event["time"] + 0.5), 3),
            )
            rows += [(*_BEAT, clock, start, ""), (*_ICONIC, start, stop, event["word"])]
            clock = stop
    rows.append((*_BEAT, clock, end, ""))
    path.write_text(
        "".join(
            f"{label}\t{start:g}\t{stop:g}\t{stop - start:.6g}\t{score}\t{word}\n"
            for label, score, start, stop, word in rows
            if stop > start
        )
    )
