"""Clip ids, layout and split table: accepted ids name files inside their folder, nothing
else is accepted.
"""

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mambatalk.corpus.layout import (
    ClipId,
    check_root,
    clip_path,
    language_of,
    list_clips,
    parse_clip_id,
    read_split_table,
)
from mambatalk.errors import InputError

ids = st.builds(
    lambda speaker, name, kind, start, more: ClipId(speaker, name, kind, start, start + more),
    st.integers(0, 999),
    st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,20}", fullmatch=True),
    st.integers(0, 9),
    st.integers(0, 999),
    st.integers(0, 99),
)


@given(ids)
def test_a_clip_id_is_parsed_from_its_text(clip: ClipId) -> None:
    assert parse_clip_id(str(clip)) == clip


@given(st.text(max_size=40))
@example("../2_scott_0_1_1")
@example("/etc/passwd")
@example("2_sco/tt_0_1_1")
@example("2_scott_0_1_1\n")
@example("2_scott_0_1_1\0")
@example("2_..%2f_0_1_1")
@example("２_scott_0_1_1")
def test_any_text_is_refused_or_names_a_file_inside_its_folder(text: str) -> None:
    try:
        clip = parse_clip_id(text)
    except InputError as error:
        refusal = str(error)
    else:
        assert str(clip) == text
        assert (
            clip_path("/corpus", clip, "motion").resolve().parent
            == Path("/corpus/smplxflame_30").resolve()
        )
        return
    assert refusal.isprintable()


@pytest.mark.parametrize(
    "text",
    [
        "2_scott_0_1",
        "2_scott_0_1_1_1",
        "02_scott_0_1_1",
        "-2_scott_0_1_1",
        "2_scott_10_1_1",
        "2_scott_0_5_4",
        "2__0_1_1",
        "2_scott_0_1_01",
        "2_scott_0_1_1.npz",
        "",
        "2_scott_0_1_9999999",
    ],
)
def test_a_malformed_clip_id_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="found"):
        parse_clip_id(text)


@pytest.mark.parametrize(
    ("kind", "language"),
    [
        (0, "english"),
        (1, "english"),
        (2, "chinese"),
        (3, "chinese"),
        (4, "spanish"),
        (6, "japanese"),
        (7, "japanese"),
        (8, "other"),
        (9, "other"),
    ],
)
def test_the_recording_type_determines_the_language(kind: int, language: str) -> None:
    assert language_of(ClipId(12, "zhao", kind, 1, 8)) == language


def _table(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "train_test_split.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_the_split_table_is_read_in_file_order(tmp_path: Path) -> None:
    path = _table(tmp_path, "\ufeffid,type\r\n2_scott_0_1_1,test\r\n2_scott_1_1_8,additional\r\n")
    assert read_split_table(path) == {"2_scott_0_1_1": "test", "2_scott_1_1_8": "additional"}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("name,type\n2_scott_0_1_1,test\n", "columns"),
        ("", "an empty file"),
        ("id,type\n../../x,test\n", "line 2"),
        ("id,type\n2_scott_0_1_1,tset\n", "tset"),
        ("id,type\n2_scott_0_1_1\n", "line 2"),
        ("id,type\n2_scott_0_1_1,train\n2_scott_0_1_1,test\n", "second time"),
        (b"id,type\n\xff\xfe\x00", "UTF-8"),
    ],
)
def test_an_invalid_split_table_is_refused(tmp_path: Path, text: str | bytes, named: str) -> None:
    with pytest.raises(InputError, match=named):
        read_split_table(_table(tmp_path, text))


def _corpus(tmp_path: Path) -> Path:
    for folder in ("smplxflame_30", "wave16k", "textgrid"):
        (tmp_path / folder).mkdir()
    _table(tmp_path, "id,type\n3_solomon_0_9_9,val\n2_scott_0_10_10,test\n2_scott_0_2_2,train\n")
    return tmp_path


def test_clips_come_from_the_table_and_from_files_sorted_by_number(tmp_path: Path) -> None:
    root = _corpus(tmp_path)
    (root / "wave16k" / "2_scott_0_3_3.wav").touch()
    (root / "wave16k" / "notes on tape.wav").touch()
    assert [str(clip) for clip in list_clips(root)] == [
        "2_scott_0_2_2",
        "2_scott_0_3_3",
        "2_scott_0_10_10",
        "3_solomon_0_9_9",
    ]


def test_a_folder_without_a_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        check_root(tmp_path / "nowhere")
    with pytest.raises(InputError, match="smplxflame_30"):
        check_root(tmp_path)


def test_a_split_table_with_an_endless_field_is_refused(tmp_path: Path) -> None:
    path = _table(tmp_path, f"id,type\n{'x' * 200_000},train\n")
    with pytest.raises(InputError, match="found invalid CSV"):
        read_split_table(path)
