"""The vocabulary: word to id, with the four special ids first."""

from collections import Counter
from collections.abc import Iterable

from mambatalk.fidelity import CORRECTED, FidelityRules

PAD, SOS, EOS, UNKNOWN = range(4)
SPECIAL = ("PAD", "SOS", "EOS", "UNK")
_PUNCTUATION = str.maketrans(dict.fromkeys(",.?!", " "))


def clean(mark: str, *, rules: FidelityRules = CORRECTED) -> str:
    """A TextGrid mark with , . ? ! turned to blanks; corrected drops the blanks at its ends too.
    Case is kept.

    Source: published vocabulary builder.
    """
    blank = mark.translate(_PUNCTUATION)
    return blank.strip() if rules.consistent_words else blank


def build_vocabulary(marks: Iterable[str], *, rules: FidelityRules) -> dict[str, int]:
    """Word to id over all marks, most frequent first and ties in alphabetical order; ids 0 to 3 are
    special.

    Published: the empty mark (silence) is a word like any other. Corrected: silence is PAD and no
    entry.
    """
    counts = Counter(clean(mark, rules=rules) for mark in marks)
    if rules.consistent_words:
        counts.pop("", None)
    words = sorted(counts, key=lambda word: (-counts[word], word))
    return {
        word: place
        for place, word in enumerate((*SPECIAL, *(w for w in words if w not in SPECIAL)))
    }


def look_up(mark: str, vocabulary: dict[str, int], *, rules: FidelityRules) -> int:
    """Id of a mark.

    Published: a single blank is PAD, and punctuation that was turned to blanks when the vocabulary
    was built is not touched here, so `well,` is unknown. Corrected: the same cleaning in both
    places, and every blank is PAD.
    """
    if not rules.consistent_words:
        return PAD if mark == " " else vocabulary.get(mark, UNKNOWN)
    word = clean(mark)
    return vocabulary.get(word, UNKNOWN) if word else PAD
