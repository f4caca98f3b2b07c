"""Words and phones of one clip from a Praat TextGrid, long or short form, UTF-8 or UTF-16.

Praat defines both forms by one rule: a reader takes the free-standing numbers, quoted texts and flags in order and
skips all else. Following that rule instead of line patterns copes with newlines in labels, trailing blanks and CRLF,
and reads from memory; overlapping and missing intervals are handed on for the checks to judge, where the packages
`textgrid` and `praatio` stop at them.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from mambatalk.data.readers.source import Source, load, parsing
from mambatalk.errors import UserError

LIMIT = 64 << 20
_EXPECTED = "a Praat TextGrid with an interval tier named words (and one named phones)"
_TOKEN = re.compile(r'"((?:[^"]|"")*)"|(?<!\S)(<\w+>|[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)(?!\S)|![^\n]*')
_WORDS = {"words", "word"}
_PHONES = {"phones", "phone", "phonemes"}
_T = TypeVar("_T", str, float)


class Interval(NamedTuple):
    """A labelled stretch of time in seconds; an empty text is silence."""

    start: float
    end: float
    text: str


@dataclass(frozen=True)
class Tiers:
    """The two tiers that gesture models read."""

    words: list[Interval]
    phones: list[Interval]
    """Empty where the file has no such tier."""
    seconds: float
    """End of the file's time: the sound's length, not the motion's."""


def read_textgrid(source: Source, *, name: str = "data") -> Tiers:
    """Read the tiers named words and phones (also `Word`, `speaker - words` and the like); point tiers are skipped.

    Raises:
        UserError: Not a TextGrid, cut short, no tier of words, or an interval that ends before it starts.

    """
    data, name = load(source, name, limit=LIMIT, expected=_EXPECTED)
    with parsing(name, expected=_EXPECTED):
        tokens = _tokens(_decode(data))
        if (next(tokens, None), next(tokens, None)) != ("ooTextFile", "TextGrid"):
            raise UserError(name, found="another kind of file", expected=_EXPECTED, do="get the file again")
        seconds, tiers = _read_tiers(tokens)
    words = next((tier for title, tier in tiers if _kind(title) in _WORDS), None)
    phones = next((tier for title, tier in tiers if _kind(title) in _PHONES), [])
    if words is None:
        titles = ", ".join(ascii(title) for title, _ in tiers[:5]) or "none"
        raise UserError(name, found=f"interval tiers {titles}", expected=_EXPECTED, do="rename the tier with the words")
    for interval in (*words, *phones):
        if not 0 <= interval.start <= interval.end:
            raise UserError(name, found=f"{ascii(interval.text[:40])} from {interval.start} to {interval.end} s",
                            expected="intervals that start at 0 or later and end after they start", do="mend the file")
    return Tiers(words, phones, seconds)


def _decode(data: bytes) -> str:
    wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    return data.decode("utf-16" if wide else "utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")


def _tokens(text: str) -> Iterator[str | float]:
    """Texts as they are (quotes undoubled), numbers as floats; flags such as <exists> are texts too."""
    for match in _TOKEN.finditer(text):
        quoted, free = match.groups()
        if quoted is not None:
            yield quoted.replace('""', '"')
        elif free is not None:
            yield free if free.startswith("<") else _number(free)


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no time")
    return value + 0.0  # -0.0 becomes 0.0


def _read_tiers(tokens: Iterator[str | float]) -> tuple[float, list[tuple[str, list[Interval]]]]:
    _take(tokens, float)
    seconds = _take(tokens, float)
    tiers: list[tuple[str, list[Interval]]] = []
    count = _take(tokens, float) if _take(tokens, str) == "<exists>" else 0
    for _ in range(int(count)):
        points = _take(tokens, str) == "TextTier"
        title = _take(tokens, str)
        _take(tokens, float), _take(tokens, float)
        size = int(_take(tokens, float))
        if points:
            for _ in range(size):
                _take(tokens, float), _take(tokens, str)
        else:
            tiers.append((title, [Interval(_take(tokens, float), _take(tokens, float), _take(tokens, str))
                                  for _ in range(size)]))
    return seconds, tiers


def _take(tokens: Iterator[str | float], kind: type[_T]) -> _T:
    token = next(tokens, None)
    if not isinstance(token, kind):
        raise ValueError("the file ends too soon" if token is None else f"{token!r} in place of a {kind.__name__}")
    return token


def _kind(title: str) -> str:
    return title.casefold().rsplit(" - ", 1)[-1].strip(' "')
