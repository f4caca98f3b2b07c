"""Reader of semantic annotations."""

from pathlib import Path

import pytest

from mambatalk.corpus.semantics import read_semantics
from mambatalk.errors import InputError

SHARED = Path(__file__).parents[3].parent / "shared"


def test_semantic_annotations_are_read() -> None:
    rows = read_semantics(
        b"01_beat_align\t0\t68.0\t68.0\t0.1\n\r\n07_iconic_h\t68.0\t70\t2\t0.7\tbig house \r\n"
    )
    assert [(row.name, row.start, row.end, row.score, row.keywords) for row in rows] == [
        ("01_beat_align", 0, 68, 0.1, ""),
        ("07_iconic_h", 68, 70, 0.7, "big house"),
    ]


@pytest.mark.parametrize(
    "line",
    [
        b"01_beat_align 0 68.0 68.0 0.1",
        b"a\t0\tx\t1\t1\t",
        b"a\t2\t1\t1\t1\t",
        b"a\t0\tinf\t1\t1\t",
        b"a\t0\t1\t1\tnan\t",
        b"a\t-1\t1\t1\t1\t",
        b"a\t0\t1\t1\t1\t\t",
        b"a\t0\t1",
        b"\xff\xfe",
    ],
    ids=range(9),
)
def test_an_invalid_line_of_semantics_is_named(line: bytes) -> None:
    with pytest.raises(InputError) as error:
        read_semantics(b"01_beat_align\t0\t1\t1\t0.1\t\n" + line, where="clip.txt")
    assert str(error.value).startswith("clip.txt")


@pytest.mark.skipif(not SHARED.is_dir(), reason="no real clips beside the checkout")
def test_semantics_of_beatx_are_read() -> None:
    rows = read_semantics(SHARED / "beatx_clips/beat_english_v2.0.0/sem/2_scott_0_1_1.txt")
    assert (len(rows), rows[-1].end) == (21, 63.908)
