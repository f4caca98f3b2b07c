"""The vocabulary, and the word of each frame."""

from typing import NamedTuple

import pytest

from mambatalk.fidelity import CORRECTED, PUBLISHED, FidelityRules
from mambatalk.text.vocabulary import PAD, UNKNOWN, build_vocabulary, look_up
from mambatalk.text.words import frame_words


class Mark(NamedTuple):
    start: float
    end: float
    text: str


SPOKEN = [Mark(0.0, 0.5, ""), Mark(0.5, 1.0, "yes"), Mark(1.0, 1.5, "no"), Mark(2.0, 3.0, "yes")]
YES_AND_NO = build_vocabulary(["yes", "no"], rules=CORRECTED)


def test_frequent_words_come_first_and_ties_are_alphabetical() -> None:
    vocabulary = build_vocabulary(["b", "a", "c", "c"], rules=CORRECTED)
    assert vocabulary == {"PAD": 0, "SOS": 1, "EOS": 2, "UNK": 3, "c": 4, "a": 5, "b": 6}


def test_case_is_kept() -> None:
    assert {"Yes", "yes"} <= build_vocabulary(["Yes", "yes"], rules=CORRECTED).keys()


def test_silence_is_a_word_in_published_form_only() -> None:
    assert "" in build_vocabulary(["", "yes"], rules=PUBLISHED)
    assert "" not in build_vocabulary(["", "yes"], rules=CORRECTED)


@pytest.mark.parametrize(("rules", "found"), [(PUBLISHED, UNKNOWN), (CORRECTED, 4)])
def test_only_published_look_up_keeps_punctuation(rules: FidelityRules, found: int) -> None:
    vocabulary = build_vocabulary(["well,"], rules=rules)
    assert look_up("well,", vocabulary, rules=rules) == found


def test_a_frame_on_a_border_belongs_to_the_word_that_ends_or_begins() -> None:
    published = frame_words(SPOKEN, YES_AND_NO, 31, rules=PUBLISHED)
    corrected = frame_words(SPOKEN, YES_AND_NO, 31, rules=CORRECTED)
    assert published[30] == YES_AND_NO["yes"]
    assert corrected[30] == YES_AND_NO["no"]


def test_frames_outside_all_words_are_unknown_published_and_silence_corrected() -> None:
    published = frame_words(SPOKEN, YES_AND_NO, 90, rules=PUBLISHED)
    corrected = frame_words(SPOKEN, YES_AND_NO, 90, rules=CORRECTED)
    assert published[52] == UNKNOWN
    assert corrected[52] == PAD
    assert corrected[3] == PAD
