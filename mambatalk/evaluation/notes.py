"""Notes on a score: limits that follow from the files it was computed from."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from mambatalk.evaluation.pairing import ClipFiles, clip_name
from mambatalk.evaluation.score import TruthClip
from mambatalk.motion.clip import SmplxMotion
from mambatalk.motion.skeleton import FPS, SAMPLE_RATE
from mambatalk.reporting.text import count_of

WINDOW: Final = 64
"""Smallest difference in frames that gets a note. Published generation drops the frames after its
last full window of 64, so that smaller differences are normal."""


PUBLISHED_FGD_CHANNELS: Final = 240
"""Features of AESKConv_240_100.bin."""


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


def notes_on_inputs(
    body_kind: str, *, body: bool, fgd: int | None, mean_velocity: bool
) -> list[str]:
    """Return notes on inputs that were not given, and on what the metrics are without them.

    Args:
        body_kind: "smplx" or "stand-in", from `Body.kind`.
        body: Whether a body model was given.
        fgd: Channels of the features of the FGD encoder; None if none was given.
        mean_velocity: Whether mean joint speeds were given.

    """
    notes = []
    if body_kind == "stand-in":
        hint = "" if body else "; give --body SMPLX_NEUTRAL_2020.npz"
        notes.append(
            "BC, diversity, face MSE, LVD, SRGR and the metrics of root and feet are computed on"
            f" the stand-in body and are not comparable with published ones{hint}"
        )
    if fgd is None:
        notes.append("FGD is not computed without --fgd AESKConv_240_100.bin")
    elif fgd != PUBLISHED_FGD_CHANNELS:
        notes.append(
            f"FGD and kernel distance are computed with an encoder of {fgd} channels, which is not"
            f" the published one ({PUBLISHED_FGD_CHANNELS} channels), and are not comparable with"
            " published ones"
        )
    if not mean_velocity:
        notes.append(
            "BC uses the mean joint speeds of the ground truth given; published BC uses those of"
            " --mean-velocity mean_vel_smplxflame_30.npy"
        )
    return notes
