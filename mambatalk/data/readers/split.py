"""The split file: which clips a corpus has and what each is for."""

import csv
import io
from typing import cast, get_args

from mambatalk.data.corpus import Split, parse_clip_id
from mambatalk.data.readers.source import Source, load, parsing
from mambatalk.errors import UserError

LIMIT = 64 << 20
_EXPECTED = f"a csv with columns id,type; types are {', '.join(get_args(Split))}"


def read_split(source: Source, *, name: str = "data") -> dict[str, Split]:
    """Clip id to split, in the file's order; every id is a well-formed one.

    Raises:
        UserError: Columns missing, an unknown type, a malformed id, a clip named twice, or no row at all.

    """
    data, name = load(source, name, limit=LIMIT, expected=_EXPECTED)
    splits: dict[str, Split] = {}
    with parsing(name, expected=_EXPECTED):
        reader = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), skipinitialspace=True)
        if not {"id", "type"} <= set(reader.fieldnames or ()):
            raise UserError(name, found=f"columns {ascii(','.join(reader.fieldnames or ())[:80])}", expected=_EXPECTED,
                            do="put `id,type` on the first line")
        for row in reader:
            clip, kind = (row["id"] or "").strip(), (row["type"] or "").strip()
            _add(splits, clip, kind, f"{name}: line {reader.line_num}")
    if not splits:
        raise UserError(name, found="no rows", expected=_EXPECTED, do="list the clips, one a line")
    return splits


def _add(splits: dict[str, Split], clip: str, kind: str, where: str) -> None:
    try:
        parse_clip_id(clip)
    except UserError as error:
        raise UserError(where, found=error.found, expected=error.expected, do=error.do) from None
    if kind not in get_args(Split):
        raise UserError(where, found=f"type {ascii(kind[:40])}", expected=_EXPECTED, do="correct the line")
    if clip in splits:
        raise UserError(where, found=f"{clip} a second time", expected="each clip once", do="remove one of its lines")
    splits[clip] = cast(Split, kind)
