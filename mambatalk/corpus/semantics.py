"""Semantic annotations: `sem/ID.txt`, tab separated, without a header."""

import math
from dataclasses import dataclass
from typing import Final

from mambatalk.errors import InputError
from mambatalk.files import Source, load_bytes

MAX_FILE_BYTES: Final = 8 * 2**20


@dataclass(frozen=True)
class Semantic:
    """One annotated stretch."""

    name: str
    """Such as `01_beat_align` or `07_iconic_h`."""
    start: float
    """Seconds."""
    end: float
    """Seconds."""
    duration: float
    """Seconds, as the file states them."""
    score: float
    """Semantic weight; 0.1 for beats, up to 1 for strong metaphoric gestures."""
    keywords: str
    """Words that carry the gesture; empty on beats."""


def read_semantics(source: Source, *, where: str | None = None) -> list[Semantic]:
    """Read rows of label, start, end, duration, score and keywords, in the order of the file.

    Args:
        source: Path, or the file's bytes.
        where: Name for errors; the path by default.

    Raises:
        InputError: Not UTF-8, or a row that is not five or six fields with finite numbers in their
            places.

    """
    data, name = load_bytes(source, where=where, limit=MAX_FILE_BYTES)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            name,
            f"expected tab separated UTF-8 text, found bytes that are not UTF-8 (at {error.start})",
            "save the file as UTF-8",
        ) from None
    lines = text.replace("\r\n", "\n").split("\n")
    return [_row(line, f"{name} line {k}") for k, line in enumerate(lines, start=1) if line.strip()]


def _row(line: str, where: str) -> Semantic:
    fields = line.split("\t")
    try:
        start, end, duration, score = (float(field) for field in fields[1:5])
        sound = (
            len(fields) <= 6
            and math.isfinite(duration)
            and math.isfinite(score)
            and 0 <= start <= end < math.inf
        )
    except ValueError:
        sound = False
    if not sound:
        raise InputError(
            where,
            "expected label, start, end, duration, score, keywords by tabs,"
            f" found {repr(line[:80])}",
            "correct the line",
        )
    return Semantic(
        fields[0], start, end, duration, score, fields[5].strip() if len(fields) == 6 else ""
    )
