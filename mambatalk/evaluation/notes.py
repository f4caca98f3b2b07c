"""What a reader of a score must know of the files that it was made from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from mambatalk.evaluation.score import TruthClip
from mambatalk.motion.clip import SmplxMotion
from mambatalk.motion.skeleton import FPS, SAMPLE_RATE

WINDOW: Final = 64
"""Frames that may be missing without a word: published generation drops what does not fill its last
window.
"""


class Lengths(NamedTuple):
    """One clip's, in frames at 30 a second."""

    name: str
    result: int
    truth: int
    sound: int

    @classmethod
    def of(cls, truth: TruthClip, motion: SmplxMotion) -> "Lengths":
        """Lengths of a clip and of the result that is scored on it."""
        return cls(
            truth.name,
            len(motion),
            len(truth.motion),
            len(truth.wave) * FPS // SAMPLE_RATE,
        )


def notes_on_lengths(clips: Sequence[Lengths]) -> list[str]:
    """Say where motions of unequal lengths were cut, and where the sound is too short for them."""
    notes = []
    cut = [clip for clip in clips if abs(clip.result - clip.truth) >= WINDOW]
    if cut:
        worst = max(cut, key=lambda clip: abs(clip.result - clip.truth))
        notes.append(
            f"{len(cut)} of {len(clips)} clips are scored in part, since result and truth differ in length "
            f"(most: {worst.name}, {worst.result} frames against {worst.truth}); their ground-truth rows are "
            "cut along, so compare only with methods cut alike"
        )
    short = [clip for clip in clips if min(clip.result, clip.truth) - clip.sound >= WINDOW]
    if short:
        worst = max(short, key=lambda clip: clip.truth - clip.sound)
        notes.append(
            f"{len(short)} of {len(clips)} clips have less sound than motion, which BC is computed without "
            f"(most: {worst.name}, {worst.sound} frames of sound, {worst.truth} of motion)"
        )
    return notes


def notes_on_inputs(
    kind: str, *, body: Path | None, fgd: Path | None, mean_velocity: Path | None
) -> list[str]:
    """Say what was not given, and what the numbers therefore are not."""
    notes = []
    if kind == "stand-in":
        notes.append(
            "BC, DIV, MSE, LVD and SRGR are of the stand-in body and not comparable with published ones"
            + ("" if body else "; give --body SMPLX_NEUTRAL_2020.npz")
        )
    if fgd is None:
        notes.append("FGD is not computed without --fgd AESKConv_240_100.bin")
    if mean_velocity is None:
        notes.append(
            "BC takes mean joint speeds from the ground truth given; published BC takes those of "
            "--mean-velocity mean_vel_smplxflame_30.npy"
        )
    return notes
