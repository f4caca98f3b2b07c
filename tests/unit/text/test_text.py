"""Words by frame and the vocabulary, published and corrected."""

from dataclasses import dataclass

from mambatalk.fidelity import CORRECTED, PUBLISHED
from mambatalk.text.vocabulary import PAD, UNKNOWN, build_vocabulary, look_up
from mambatalk.text.words import frame_words


@dataclass
class Mark:
    start: float
    end: float
    text: str


SPOKEN = [Mark(0.0, 0.5, ""), Mark(0.5, 1.0, "yes"), Mark(1.0, 1.5, "no"), Mark(2.0, 2.5, "well,")]


def test_frequent_words_come_first_and_ties_are_alphabetical():
    assert build_vocabulary(["b", "a", "c", "c"], rules=CORRECTED) == {
        "PAD": 0,
        "SOS": 1,
        "EOS": 2,
        "UNK": 3,
        "c": 4,
        "a": 5,
        "b": 6,
    }


def test_case_is_kept():
    assert {"Yes", "yes"} <= build_vocabulary(["Yes", "yes"], rules=CORRECTED).keys()


def test_silence_is_a_word_in_published_form_alone():
    assert "" in build_vocabulary(["", "yes"], rules=PUBLISHED)
    assert "" not in build_vocabulary(["", "yes"], rules=CORRECTED)


def test_published_look_up_forgets_what_the_builder_did_to_punctuation():
    for rules, found in ((PUBLISHED, UNKNOWN), (CORRECTED, 4)):
        vocabulary = build_vocabulary(["well,"], rules=rules)
        assert look_up("well,", vocabulary, rules=rules) == found


def test_a_frame_on_a_border_belongs_to_the_word_that_ends_or_to_the_one_that_begins():
    vocabulary = build_vocabulary(["yes", "no"], rules=CORRECTED)
    yes, no = vocabulary["yes"], vocabulary["no"]
    assert frame_words(SPOKEN, vocabulary, 31, rules=PUBLISHED)[30] == yes
    assert frame_words(SPOKEN, vocabulary, 31, rules=CORRECTED)[30] == no


def test_outside_all_words_is_unknown_published_and_silence_corrected():
    vocabulary = build_vocabulary(["yes", "no"], rules=CORRECTED)
    assert frame_words(SPOKEN, vocabulary, 90, rules=PUBLISHED)[52] == UNKNOWN
    assert frame_words(SPOKEN, vocabulary, 90, rules=CORRECTED)[52] == PAD
    assert frame_words(SPOKEN, vocabulary, 90, rules=CORRECTED)[3] == PAD
