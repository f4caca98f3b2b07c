"""Semantic annotation of one clip: which kind of gesture is made when, and how relevant it is."""

import math
from typing import NamedTuple

from mambatalk.data.readers.source import Source, load, parsing

LIMIT = 16 << 20
_EXPECTED = "tab-separated rows of name, start, end, duration, score and keywords"


class Semantic(NamedTuple):
    """One row; times in seconds."""

    name: str
    """Such as 01_beat_align, 02_deictic_l, 07_iconic_h, 10_metaphoric_h."""
    start: float
    end: float
    duration: float
    score: float
    """Relevance, 0 to 1."""
    keywords: str
    """Words the gesture belongs to; empty for beats."""


def read_semantics(source: Source, *, name: str = "data") -> list[Semantic]:
    """Read a sem file.

    Raises:
        UserError: Not text, or a row that is no annotation.

    """
    data, name = load(source, name, limit=LIMIT, expected=_EXPECTED)
    with parsing(name, expected=_EXPECTED):
        return [_row(line, k) for k, line in enumerate(data.decode("utf-8-sig").splitlines(), 1) if line.strip()]


def _row(line: str, number: int) -> Semantic:
    fields = line.split("\t")
    if not 5 <= len(fields) <= 6:
        raise ValueError(f"line {number} has {len(fields)} fields")
    start, end, duration, score = (float(field) for field in fields[1:5])
    if not all(map(math.isfinite, (start, end, duration, score))):
        raise ValueError(f"line {number} holds a number that is not finite")
    return Semantic(fields[0].strip(), start, end, duration, score, fields[5].strip() if len(fields) == 6 else "")
