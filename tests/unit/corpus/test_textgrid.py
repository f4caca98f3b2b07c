"""Reader of TextGrids: all dialects give the same tiers; damage is reported in one line."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mambatalk.corpus.textgrid import Interval, read_textgrid
from mambatalk.errors import InputError

Rows = Sequence[tuple[Any, float, str]]
"""Start, end and label of the intervals of a tier."""
TierRows = Sequence[tuple[str, Rows]]
"""Name and intervals of each tier."""
Layout = Callable[[TierRows], str]

SHARED = Path(__file__).parents[3].parent / "shared"
EDGE = SHARED / "open_speech" / "textgrid_edge_cases"

WORDS: Rows = [(0, 0.5, ""), (0.5, 0.9, "hello"), (0.9, 1.25, 'a "b" c\nd'), (1.25, 2, "")]
PHONES: Rows = [(0, 0.5, ""), (0.5, 2, "HH")]


def quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def long_format(tiers: TierRows, end: float = 2) -> str:
    lines = [
        'File type = "ooTextFile"',
        'Object class = "TextGrid"',
        "",
        "xmin = 0 ",
        f"xmax = {end} ",
        "tiers? <exists> ",
        f"size = {len(tiers)} ",
        "item []: ",
    ]
    for k, (name, rows) in enumerate(tiers, 1):
        lines += [
            f"    item [{k}]:",
            '        class = "IntervalTier" ',
            f"        name = {quoted(name)} ",
            "        xmin = 0 ",
            f"        xmax = {end} ",
            f"        intervals: size = {len(rows)} ",
        ]
        for i, (start, stop, text) in enumerate(rows, 1):
            lines += [
                f"        intervals [{i}]:",
                f"            xmin = {start} ",
                f"            xmax = {stop} ",
                f"            text = {quoted(text)} ",
            ]
    return "\n".join(lines) + "\n"


def short_format(tiers: TierRows, end: float = 2) -> str:
    lines = [
        'File type = "ooTextFile"',
        'Object class = "TextGrid"',
        "",
        "0",
        str(end),
        "<exists>",
        str(len(tiers)),
    ]
    for name, rows in tiers:
        lines += ['"IntervalTier"', quoted(name), "0", str(end), str(len(rows))]
        for start, stop, text in rows:
            lines += [str(start), str(stop), quoted(text)]
    return "\n".join(lines) + "\n"


BOTH = [("words", WORDS), ("phones", PHONES)]


@pytest.mark.parametrize("layout", [long_format, short_format])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_all_formats_and_encodings_give_the_same_tiers(
    layout: Layout, encoding: str, newline: str
) -> None:
    mark = b"\xfe\xff" if encoding == "utf-16-be" else b""
    tiers = read_textgrid(mark + layout(BOTH).replace("\n", newline).encode(encoding))
    assert tiers.words == [Interval(a, b, text.replace("\n", newline)) for a, b, text in WORDS]
    assert tiers.phones == [Interval(*row) for row in PHONES]


def test_times_are_exact_and_negative_zero_becomes_zero() -> None:
    rows = [("-0", 0.12345678901234567, "x")]
    (interval,) = read_textgrid(short_format([("words", rows)]).encode()).words
    assert str(interval.start) == "0.0"
    assert interval.end == 0.12345678901234567


@pytest.mark.parametrize("name", ["Words", "word", "scott - words", '"word"'])
def test_the_tier_of_words_is_selected_by_name(name: str) -> None:
    assert (
        read_textgrid(short_format([("phones", PHONES), (name, WORDS)]).encode()).words[1].text
        == "hello"
    )


def test_overlaps_gaps_and_wrong_order_are_accepted() -> None:
    rows = [(1, 1.5, "b"), (0, 1.2, "a")]
    assert [row.text for row in read_textgrid(short_format([("words", rows)]).encode()).words] == [
        "a",
        "b",
    ]


def test_a_file_without_phones_gives_an_empty_list() -> None:
    assert read_textgrid(short_format([("words", WORDS)]).encode()).phones == []


def test_point_tiers_are_ignored() -> None:
    points = '<exists>\n2\n"TextTier"\n"bell"\n0\n2\n1\n0.5\n"ding"'
    text = short_format([("words", WORDS)]).replace("<exists>\n1", points)
    assert len(read_textgrid(text.encode()).words) == 4


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"", "empty"),
        (b"hello", "the file type"),
        (b'File type = "ooTextFile"\nObject class = "PitchTier"', "another kind"),
        (long_format(BOTH).encode()[:-60], "end of the file"),
        (long_format(BOTH).encode()[:-4], "a text"),
        (short_format([("talk", WORDS)]).encode(), "words"),
        (short_format([("words", [(1, 0.5, "x")])]).encode(), "1.0 to 0.5"),
        (short_format([("words", [("1e999", 2, "x")])]).encode(), "number"),
        (short_format(BOTH).replace("\n4\n", "\n999999999999\n").encode(), "number"),
        (short_format(BOTH).replace("\n4\n", "\n-4\n").encode(), "non-negative integer"),
        (short_format(BOTH).replace("IntervalTier", "CloudTier").encode(), "CloudTier"),
        (short_format(BOTH).replace("<exists>", "<absent>").encode(), "words"),
        (short_format(BOTH).encode("utf-16")[:-1], "utf-16"),
        ("é".encode("latin-1") + short_format(BOTH).encode(), "utf-8"),
    ],
    ids=range(14),
)
def test_a_damaged_file_is_reported_in_one_line(data: bytes, named: str) -> None:
    with pytest.raises(InputError, match=named) as error:
        read_textgrid(data, where="clip.TextGrid")
    assert "\n" not in str(error.value)
    assert str(error.value).count("expected") == str(error.value).count("found") == 1


@given(st.binary(max_size=200), st.integers(0, 2000))
def test_any_bytes_are_read_or_refused_with_an_input_error(junk: bytes, place: int) -> None:
    data = long_format(BOTH).encode()
    try:
        read_textgrid(data[:place] + junk + data[place:])
    except InputError as error:
        refusal = str(error)
    else:
        return
    assert "\n" not in refusal


def test_many_quotes_are_read_in_linear_time() -> None:
    with pytest.raises(InputError):
        read_textgrid(b'"' * 2_000_001)


@pytest.mark.skipif(not EDGE.is_dir(), reason="no TextGrids beside the checkout")
@pytest.mark.parametrize(
    ("name", "words", "phones", "second"),
    [
        ("bobby_words", 6, 0, "BOBBY"),
        ("bobby_words_with_newlines_longfile", 6, 0, '"""BOBBY"""\nNoun'),
        ("damon_set_test", 6, 18, "damon"),
        ("mary_longfile_with_negative_zero", 6, 16, "mary"),
    ],
)
def test_edge_cases_of_praat_are_read(name: str, words: int, phones: int, second: str) -> None:
    tiers = read_textgrid(EDGE / f"{name}.TextGrid")
    assert (len(tiers.words), len(tiers.phones), tiers.words[1].text) == (words, phones, second)


@pytest.mark.skipif(not SHARED.is_dir(), reason="no real clips beside the checkout")
@pytest.mark.parametrize(
    ("name", "words", "phones"),
    [
        ("beatx_clips/beat_english_v2.0.0/textgrid/2_scott_0_1_1", 220, 684),
        ("beatx_clips/beat_english_v2.0.0/textgrid/2_scott_0_2_2", 223, 701),
        ("open_speech/acoustic_corpus", 71, 216),
        ("open_speech/cold_corpus", 95, 246),
    ],
)
def test_textgrids_of_beatx_are_read(name: str, words: int, phones: int) -> None:
    tiers = read_textgrid(SHARED / f"{name}.TextGrid")
    assert (len(tiers.words), len(tiers.phones)) == (words, phones)
