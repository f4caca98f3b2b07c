"""Reader of semantic annotations: `sem/ID.txt`, tab-separated, without a header."""

from dataclasses import dataclass
from typing import Final

from mambatalk.errors import InputError
from mambatalk.files import Source, load_bytes

MAX_FILE_BYTES: Final = 8 * 2**20
MAX_SECONDS: Final = 1e6
"""Largest time and score; larger ones overflow where times become frames."""


@dataclass(frozen=True)
class SemanticAnnotation:
    """The label of one interval of a clip."""

    name: str
    """Label, for example `01_beat_align` or `07_iconic_h`."""
    start: float
    """Seconds."""
    end: float
    """Seconds."""
    duration: float
    """Seconds, as stated in the file."""
    score: float
    """Semantic weight: 0.1 for beats, up to 1 for strong metaphoric gestures."""
    keywords: str
    """Words that carry the gesture; empty for beats."""


def read_semantics(source: Source, *, where: str | None = None) -> list[SemanticAnnotation]:
    """Read label, start, end, duration, score and keywords of each row, in file order.

    Args:
        source: Path, or the file's bytes.
        where: Location shown in error messages. If None, use the path.

    Raises:
        InputError: The file is not UTF-8, or a row does not have five or six fields with
            numbers of at most a million in the second to fifth.

    """
    data, name = load_bytes(source, where=where, limit=MAX_FILE_BYTES)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            name,
            f"expected tab-separated UTF-8 text, found bytes that are not UTF-8 (at {error.start})",
            "save the file as UTF-8",
        ) from None

    lines = text.replace("\r\n", "\n").split("\n")
    return [
        _parse_row(line, f"{name} line {number}")
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]


def _parse_row(line: str, where: str) -> SemanticAnnotation:
    fields = line.split("\t")
    try:
        start, end, duration, score = (float(field) for field in fields[1:5])
        valid = (
            len(fields) <= 6
            and abs(duration) <= MAX_SECONDS
            and abs(score) <= MAX_SECONDS
            and 0 <= start <= end <= MAX_SECONDS
        )
    except ValueError:
        valid = False
    if not valid:
        raise InputError(
            where,
            "expected label, start, end, duration, score, keywords separated by tabs,"
            f" found {line[:80]!r}",
            "correct the line",
        )
    keywords = fields[5].strip() if len(fields) == 6 else ""
    return SemanticAnnotation(fields[0], start, end, duration, score, keywords)
