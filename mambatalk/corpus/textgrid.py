"""Praat TextGrids: words and phones, in the long and the short text format.

Praat itself reads a TextGrid as a stream of free-standing numbers, quoted strings and flags and
ignores all else; so does this reader. Neither package for the format can take its place on files
that nobody has looked at before (docs/experiments.md has the comparison): `textgrid` 1.6 takes
minutes over an unclosed quote, rounds times, loses empty intervals and refuses words past the
tier's end; `praatio` 6.2 reads a file that was cut off as if it were whole, loses the sign of a
time, and refuses times such as 1e-05. The sample's files are written by `textgrid`.
"""

import codecs
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NoReturn

from mambatalk.errors import InputError
from mambatalk.files import Source, load_bytes

MAX_FILE_BYTES: Final = 8 * 2**20
"""An hour of speech has less than 6 MB."""
WORD_TIERS: Final = ("words", "word")
PHONE_TIERS: Final = ("phones", "phone", "phons", "phonemes")

_TOKEN = re.compile(
    r'"(?P<text>(?:[^"]++|"")*+)"|(?P<open>")'
    r"|(?<!\S)(?P<number>[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?)(?!\S)"
    r"|(?<!\S)(?P<flag><exists>|<absent>)(?!\S)"
)


@dataclass(frozen=True)
class Interval:
    """A label and its time."""

    start: float
    """Seconds."""
    end: float
    """Seconds."""
    text: str


@dataclass(frozen=True)
class Tiers:
    """Words and phones of one clip, each sorted by start; overlaps and gaps are left for the checks
    to find.
    """

    words: list[Interval]
    phones: list[Interval]
    """Empty where the file has no such tier."""


def read_textgrid(source: Source, *, where: str | None = None) -> Tiers:
    """Read a TextGrid in UTF-8 or UTF-16.

    Tiers are found by name (`words`, `phones`, also as `speaker - words`); point tiers are passed
    over.

    Args:
        source: Path, or the file's bytes.
        where: Name for errors; the path by default.

    Raises:
        InputError: No TextGrid, a damaged or cut one, no tier of words, an interval that ends before
            it starts.

    """
    data, name = load_bytes(source, where=where, limit=MAX_FILE_BYTES)
    tiers = _Tokens(_decode(data, name), name).tiers()
    words = _pick(tiers, WORD_TIERS)
    if words is None:
        raise InputError(
            name,
            f"expected a tier `words`, found {f'interval tiers {sorted(tiers)}'[:160]}",
            "align the clip, for example with the Montreal Forced Aligner, or rename the tier",
        )
    return Tiers(words, _pick(tiers, PHONE_TIERS) or [])


def _pick(tiers: dict[str, list[Interval]], names: tuple[str, ...]) -> list[Interval] | None:
    for tier, intervals in tiers.items():
        if tier.rpartition(" - ")[2].strip(' "').lower() in names:
            return sorted(intervals, key=lambda interval: interval.start)
    return None


def _decode(data: bytes, name: str) -> str:
    marked = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            name,
            "expected UTF-8, or UTF-16 with its mark,"
            f" found bytes that are not {error.encoding} (at {error.start})",
            "save the TextGrid as UTF-8",
        ) from None


class _Tokens:
    """The token stream of one file, taken in the order that the format prescribes."""

    def __init__(self, text: str, name: str) -> None:
        self.name = name
        self.stream: Iterator[re.Match[str]] = _TOKEN.finditer(text)

    def tiers(self) -> dict[str, list[Interval]]:
        """Interval tiers by name; of two tiers of one name the first stands."""
        if (
            self.text("the file type") != "ooTextFile"
            or self.text("the object class") != "TextGrid"
        ):
            self.fail("another kind of file", "a Praat text file of class TextGrid")
        self.number("xmin")
        self.number("xmax")
        if self.take("flag", "whether there are tiers") == "<absent>":
            return {}
        tiers: dict[str, list[Interval]] = {}
        for _ in range(self.count("the number of tiers")):
            kind, tier = self.text("a tier's class"), self.text("a tier's name")
            self.number("a tier's xmin")
            self.number("a tier's xmax")
            size = self.count(f"the size of tier {tier[:40]!r}")
            if kind == "IntervalTier":
                tiers.setdefault(tier, [self.interval(tier) for _ in range(size)])
            elif kind == "TextTier":
                for _ in range(size):
                    self.number("a point's time")
                    self.text("a point's label")
            else:
                self.fail(f"a tier of class {kind[:40]!r}", "IntervalTier or TextTier")
        return tiers

    def interval(self, tier: str) -> Interval:
        start, end = self.number("an interval's start"), self.number("an interval's end")
        text = self.text("an interval's label")
        if end < start:
            self.fail(
                f"{text[:40]!r} from {start} to {end} in tier {tier[:40]!r}",
                "a start not after its end",
            )
        return Interval(start, end, text)

    def text(self, what: str) -> str:
        return self.take("text", what).replace('""', '"')

    def number(self, what: str) -> float:
        value = float(self.take("number", what))
        if not math.isfinite(value):
            self.fail(f"{value} as {what}", "a finite number")
        return value + 0.0  # Turns the -0 that Praat scripts write into 0.

    def count(self, what: str) -> int:
        value = self.number(what)
        if value < 0 or value != int(value):
            self.fail(f"{value} as {what}", "a whole number")
        return int(value)

    def take(self, kind: str, what: str) -> str:
        match = next(self.stream, None)
        found = "the end of the file" if match is None else repr(match.group()[:40])
        if match is None or match.lastgroup != kind:
            self.fail(f"{found} in place of {what}", f"a {kind}")
        return match[kind]

    def fail(self, found: str, expected: str) -> NoReturn:
        raise InputError(
            self.name, f"expected {expected}, found {found}", "make the TextGrid again"
        )
