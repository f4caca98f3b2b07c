"""Notes on a score: limits that follow from the files it was computed from."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from mambatalk.evaluation.pairing import ClipFiles, clip_name
from mambatalk.evaluation.score import TruthClip
from mambatalk.metrics.catalogue import footnotes
from mambatalk.motion.clip import SmplxMotion
from mambatalk.motion.skeleton import FPS, SAMPLE_RATE
from mambatalk.reporting.text import count_of

WINDOW: Final = 64
"""Smallest difference in frames that gets a note. Published generation drops the frames after its
last full window of 64, so that smaller differences are normal."""


class Lengths(NamedTuple):
    """Lengths of one clip's files, in frames at 30 per second."""

    name: str
    result: int
    truth: int
    audio: int

    @classmethod
    def of(cls, truth: TruthClip, motion: SmplxMotion) -> "Lengths":
        """Return the lengths of a recording and of the result that is scored on it."""
        audio = len(truth.waveform) * FPS // SAMPLE_RATE
        return cls(truth.name, len(motion), len(truth.motion), audio)


def notes_on_lengths(clips: Sequence[Lengths]) -> list[str]:
    """Return notes on clips that were cut, and on clips with less audio than motion."""
    notes = []
    cut = [clip for clip in clips if abs(clip.result - clip.truth) >= WINDOW]
    if cut:
        worst = max(cut, key=lambda clip: abs(clip.result - clip.truth))
        notes.append(
            f"scored in part: {len(cut)} of {count_of(len(clips), 'clip')}, because result and"
            f" truth differ in length (most: {worst.name}, {worst.result} frames against"
            f" {worst.truth});"
            " their ground-truth rows are cut to the same frames, so compare only with methods"
            " that were cut alike"
        )
    short = [clip for clip in clips if min(clip.result, clip.truth) - clip.audio >= WINDOW]
    if short:
        worst = max(short, key=lambda clip: clip.truth - clip.audio)
        notes.append(
            f"less audio than motion: {len(short)} of {count_of(len(clips), 'clip')}; BC is"
            f" computed without the missing part (most: {worst.name}, {worst.audio} frames"
            f" of audio, {worst.truth} of motion)"
        )
    return notes


def notes_on_names(clips: Sequence[ClipFiles]) -> list[str]:
    """Return a note for single files whose names belong to different clips."""
    return [
        f"{clip.result.name} is scored against {clip.truth.name} and {clip.audio.name}, whose names"
        " differ; check that they are of the same clip"
        for clip in clips
        if len({clip_name(path) for path in (clip.result, clip.truth, clip.audio)}) > 1
    ]


def notes_on_inputs(result: Mapping[str, Any], *, body: bool, mean_velocity: bool) -> list[str]:
    """Return notes on inputs that were not given, and on what the metrics were measured with.

    Args:
        result: Result of `Evaluation.result`.
        body: Whether a body model was given.
        mean_velocity: Whether mean joint speeds were given.

    """
    notes = [f"{mark} {text}" for mark, text in footnotes(result).items()]
    if not body:
        notes.append("without --body SMPLX_NEUTRAL_2020.npz the stand-in body is used")
    if result["fgd_encoder"] is None:
        notes.append("FGD is not computed without --fgd AESKConv_240_100.bin")
    if not mean_velocity:
        notes.append(
            "BC uses the mean joint speeds of the ground truth given; published BC uses those of"
            " --mean-velocity mean_vel_smplxflame_30.npy"
        )
    return notes
