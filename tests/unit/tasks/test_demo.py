"""Text that a person types becomes sentences that eSpeak NG's reader accepts."""

import pytest

from mambatalk.errors import InputError
from tasks.tools.demo import clean_sentences


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Please stop, the river rises.", ["Please stop, the river rises"]),
        ("One. Two? Three!", ["One", "Two", "Three"]),
        (
            'It’s a "well-known" (huge) thing; 42 of them',
            ["It's a well-known huge thing", "42 of them"],
        ),
        ("Où est-ce ?\n\nEnd", ["Où est-ce", "End"]),
    ],
)
def test_a_text_is_cut_into_sentences_of_words(text: str, sentences: list[str]) -> None:
    assert clean_sentences(text) == sentences


@pytest.mark.parametrize("text", ["", " ... ?!", "\n"])
def test_a_text_without_words_is_reported(text: str) -> None:
    with pytest.raises(InputError, match="found no words"):
        clean_sentences(text)
