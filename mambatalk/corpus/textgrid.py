"""Reader of Praat TextGrids (words and phones) in the long and the short text format.

Praat reads a TextGrid as a stream of numbers, quoted strings and flags, and ignores all other
text. This reader does the same. Neither of the two packages for the format handles untrusted files
(docs/experiments.md has the comparison): `textgrid` 1.6 takes minutes on an unclosed quote, rounds
times, drops empty intervals and refuses words past the end of the tier; `praatio` 6.2 accepts
truncated files, drops the sign of a time and refuses times such as 1e-05. The sample writes its
files with `textgrid`.
"""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NoReturn

from mambatalk.errors import InputError
from mambatalk.files import Source, load_bytes

MAX_FILE_BYTES: Final = 8 * 2**20
"""An hour of speech takes less than 6 MB."""
MAX_SECONDS: Final = 1e6
"""Largest number in a file: eleven days, or more labels than a file of this size can hold."""
WORD_TIERS: Final = ("words", "word")
PHONE_TIERS: Final = ("phones", "phone", "phons", "phonemes")

_TOKEN = re.compile(
    # Each match begins with the text before the token: this is four times as fast as a search from
    # every character. A token must follow, or characters that could begin one, or the end of the
    # file, so that no text is passed over twice.
    r'[^"<0-9.+-]*+(?:"(?P<text>(?:[^"]++|"")*+)"|(?P<open>")'
    r"|(?<!\S)(?P<number>[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?)(?!\S)"
    r"|(?<!\S)(?P<flag><exists>|<absent>)(?!\S)"
    r"|(?P<other>[<0-9.+-]++|\Z))"
)


@dataclass(frozen=True)
class Interval:
    """The label of one time interval."""

    start: float
    """Seconds."""
    end: float
    """Seconds."""
    text: str


@dataclass(frozen=True)
class Tiers:
    """Words and phones of one clip, each sorted by start.

    Overlaps and gaps are kept; the data checks report them.
    """

    words: list[Interval]
    phones: list[Interval]
    """Empty if the file has no tier of phones."""


def read_textgrid(source: Source, *, where: str | None = None) -> Tiers:
    """Read words and phones of a TextGrid in UTF-8 or UTF-16.

    Tiers are selected by name: `words` and `phones`, optionally as `speaker - words`. Point tiers
    are ignored.

    Args:
        source: Path, or the file's bytes.
        where: Location shown in error messages. If None, use the path.

    Raises:
        InputError: The file is not a TextGrid, is damaged or truncated, has no tier of words, or
            has an interval that ends before it starts.

    """
    data, name = load_bytes(source, where=where, limit=MAX_FILE_BYTES)
    tiers = _Tokens(_decode(data, name), name).read_tiers()
    words = _select_tier(tiers, WORD_TIERS)
    if words is None:
        raise InputError(
            name,
            f"expected a tier `words`, found interval tiers {sorted(tiers)!r:.140}",
            "align the clip, for example with the Montreal Forced Aligner, or rename the tier",
        )
    return Tiers(words, _select_tier(tiers, PHONE_TIERS) or [])


def _select_tier(tiers: dict[str, list[Interval]], names: tuple[str, ...]) -> list[Interval] | None:
    for tier, intervals in tiers.items():
        if tier.rpartition(" - ")[2].strip(' "').lower() in names:
            return sorted(intervals, key=lambda interval: interval.start)
    return None


def _decode(data: bytes, name: str) -> str:
    has_utf16_mark = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if has_utf16_mark else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            name,
            "expected UTF-8, or UTF-16 with a byte order mark,"
            f" found bytes that are not {error.encoding} (at {error.start})",
            "save the TextGrid as UTF-8",
        ) from None


class _Tokens:
    """The token stream of one file, read in the order that the format prescribes."""

    def __init__(self, text: str, name: str) -> None:
        self._name = name
        self._matches: Iterator[re.Match[str]] = (
            match for match in _TOKEN.finditer(text) if match.lastgroup != "other"
        )

    def read_tiers(self) -> dict[str, list[Interval]]:
        """Return interval tiers by name; the first one if a name occurs twice."""
        file_type = self._text("the file type")
        if file_type != "ooTextFile" or self._text("the object class") != "TextGrid":
            self._fail("another kind of file", "a Praat text file of class TextGrid")
        self._number("xmin")
        self._number("xmax")
        if self._next("flag", "the flag <exists>") == "<absent>":
            return {}

        tiers: dict[str, list[Interval]] = {}
        for _ in range(self._count("the number of tiers")):
            kind = self._text("the class of a tier")
            tier = self._text("the name of a tier")
            self._number("xmin of a tier")
            self._number("xmax of a tier")
            size = self._count(f"the size of tier {tier[:40]!r}")
            if kind == "IntervalTier":
                intervals = [self._interval(tier) for _ in range(size)]
                tiers.setdefault(tier, intervals)
            elif kind == "TextTier":
                for _ in range(size):
                    self._number("the time of a point")
                    self._text("the label of a point")
            else:
                self._fail(f"a tier of class {kind[:40]!r}", "IntervalTier or TextTier")
        return tiers

    def _interval(self, tier: str) -> Interval:
        # Nearly all tokens are read here, so their common case takes no further call.
        match = next(self._matches, None)
        start = self._as_number(match, "the start of an interval")
        match = next(self._matches, None)
        end = self._as_number(match, "the end of an interval")
        match = next(self._matches, None)
        if match is None or match.lastgroup != "text":
            self._fail_at(match, "the label of an interval", "text")
        text = match["text"]
        if '"' in text:
            text = text.replace('""', '"')
        if end < start:
            self._fail(
                f"{text[:40]!r} from {start} to {end} in tier {tier[:40]!r}",
                "an interval that starts before it ends",
            )
        return Interval(start, end, text)

    def _text(self, what: str) -> str:
        return self._next("text", what).replace('""', '"')

    def _number(self, what: str) -> float:
        return self._as_number(next(self._matches, None), what)

    def _as_number(self, match: re.Match[str] | None, what: str) -> float:
        if match is None or match.lastgroup != "number":
            self._fail_at(match, what, "number")
        value = float(match["number"])
        # Not finite or absurd: numbers that large overflow where times become frames and samples.
        if not abs(value) <= MAX_SECONDS:
            self._fail(str(value), f"{what} (a number of at most {MAX_SECONDS:.0f})")
        return value + 0.0  # Turns the -0 that Praat scripts write into 0.

    def _count(self, what: str) -> int:
        value = self._number(what)
        if value < 0 or value != int(value):
            self._fail(str(value), f"{what} (a non-negative integer)")
        return int(value)

    def _next(self, kind: str, what: str) -> str:
        match = next(self._matches, None)
        if match is None or match.lastgroup != kind:
            self._fail_at(match, what, kind)
        return match[kind]

    def _fail_at(self, match: re.Match[str] | None, what: str, kind: str) -> NoReturn:
        found = "the end of the file" if match is None else repr(match[match.lastgroup or 0][:40])
        self._fail(found, f"{what} (a {kind})")

    def _fail(self, found: str, expected: str) -> NoReturn:
        raise InputError(
            self._name, f"expected {expected}, found {found}", "write the TextGrid again"
        )
