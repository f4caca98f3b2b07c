"""Damage to the files of a corpus, like that of failed recordings and faulty tools."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from mambatalk.corpus.layout import FOLDERS, Kind, clip_path, parse_clip_id
from mambatalk.corpus.textgrid import Interval, read_textgrid

FPS, RATE = 30, 16_000
Arrays = dict[str, Any]


class Corpus:
    """A copy of a corpus to damage; clips are named by their ids."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, clip: str, kind: Kind) -> Path:
        return clip_path(self.root, parse_clip_id(clip), kind)

    def motion(
        self, clip: str, change: Callable[[Arrays], Any], save: Callable[..., None] = np.savez
    ) -> None:
        """Rewrite a motion file; `change` edits the arrays or returns new ones."""
        path = self.path(clip, "motion")
        with np.load(path) as archive:
            arrays = dict(archive)
        save(path, **(change(arrays) or arrays))

    def joint(self, clip: str, joint: int, turn: Any, axis: int = 0) -> None:
        """Set the rotation of a joint, in radians per frame, about one axis."""

        def change(arrays: Arrays) -> None:
            arrays["poses"][:, 3 * joint : 3 * joint + 3] = 0
            arrays["poses"][:, 3 * joint + axis] = turn

        self.motion(clip, change)

    def add(self, clip: str, name: str, values: Any) -> None:
        """Add values to one array of a motion file."""
        self.motion(clip, lambda arrays: arrays.update({name: arrays[name] + values}))

    def frames(self, clip: str) -> int:
        with np.load(self.path(clip, "motion")) as archive:
            return len(archive["poses"])

    def wave(
        self, clip: str, change: Callable[[Any], Any], rate: int = RATE, **options: Any
    ) -> None:
        """Rewrite an audio file."""
        path = self.path(clip, "wave")
        samples, _ = soundfile.read(path, dtype="float32")
        soundfile.write(
            path, change(samples), rate, **({"format": "WAV", "subtype": "PCM_16"} | options)
        )

    def bytes(self, clip: str, kind: Kind, change: Callable[[bytes], bytes]) -> None:
        path = self.path(clip, kind)
        path.write_bytes(change(path.read_bytes()))

    def words(self, clip: str, change: Callable[[list[Interval]], list[Interval]]) -> None:
        """Rewrite a TextGrid with other words, in the short format."""
        path = self.path(clip, "textgrid")
        rows = change(read_textgrid(path).words)
        end = max(row.end for row in rows)
        lines = [
            'File type = "ooTextFile"',
            'Object class = "TextGrid"',
            "",
            "0",
            str(end),
            "<exists>",
            "1",
            '"IntervalTier"',
            '"words"',
            "0",
            str(end),
            str(len(rows)),
        ]
        path.write_text(
            "\n".join([*lines, *(f'{row.start}\n{row.end}\n"{row.text}"' for row in rows)]) + "\n"
        )

    def semantics(self, clip: str, *rows: str) -> None:
        self.path(clip, "semantics").write_text("\n".join(rows) + "\n")

    def table(self, change: Callable[[str], str]) -> None:
        path = self.root / "train_test_split.csv"
        path.write_text(change(path.read_text()))

    def copy(
        self, clip: str, to: str, split: str, kinds: tuple[Kind, ...] = tuple(FOLDERS)
    ) -> None:
        """Copy the files of a clip to another id, and add it to the split table."""
        for kind in kinds:
            shutil.copy(self.path(clip, kind), self.path(to, kind))
        if f"{to}," not in (self.root / "train_test_split.csv").read_text():
            self.table(lambda text: f"{text}{to},{split}\n")

    def rename(self, clip: str, to: str) -> None:
        """Give the files of a clip another id."""
        for kind in FOLDERS:
            if self.path(clip, kind).exists():
                self.path(clip, kind).rename(self.path(to, kind))
        self.table(lambda text: text.replace(f"{clip},", f"{to},"))


def turning(frames: int, to: float) -> Any:
    """Return angles that rise slowly from zero."""
    return np.linspace(0, to, frames)


def shifted(words: list[Interval], seconds: float) -> list[Interval]:
    return [Interval(word.start + seconds, word.end + seconds, word.text) for word in words]
