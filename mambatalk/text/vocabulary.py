"""The vocabulary: word to id, with four special ids first."""

from collections import Counter
from collections.abc import Iterable

from mambatalk.fidelity import CORRECTED, FidelityRules

PAD, SOS, EOS, UNKNOWN = range(4)
SPECIAL = ("PAD", "SOS", "EOS", "UNK")
_PUNCTUATION = str.maketrans(dict.fromkeys(",.?!", " "))


def clean(mark: str, *, rules: FidelityRules = CORRECTED) -> str:
    """Replace , . ? ! in a TextGrid mark by spaces; case is kept.

    Corrected: leading and trailing spaces are removed. Source: published vocabulary builder.
    """
    spaced = mark.translate(_PUNCTUATION)
    return spaced.strip() if rules.consistent_words else spaced


def build_vocabulary(marks: Iterable[str], *, rules: FidelityRules) -> dict[str, int]:
    """Assign ids to all words, most frequent first and ties in alphabetical order.

    Ids 0 to 3 are special. Published: the empty mark (silence) is a word. Corrected: silence is
    PAD and has no entry.

    Args:
        marks: TextGrid marks of all clips, repeated as often as they occur.
        rules: Published or corrected words.

    Returns:
        Word to id.

    """
    counts = Counter(clean(mark, rules=rules) for mark in marks)
    if rules.consistent_words:
        counts.pop("", None)
    by_frequency = sorted(counts, key=lambda word: (-counts[word], word))
    words = [*SPECIAL, *(word for word in by_frequency if word not in SPECIAL)]
    return {word: index for index, word in enumerate(words)}


def look_up(mark: str, vocabulary: dict[str, int], *, rules: FidelityRules) -> int:
    """Return the id of a TextGrid mark.

    Published: a single space is PAD, and the mark keeps its punctuation, although the vocabulary
    was built without it, so `well,` is unknown. Corrected: the mark is cleaned as for the
    vocabulary, and an empty one is PAD.

    Args:
        mark: Text of a TextGrid interval.
        vocabulary: Word to id.
        rules: Published or corrected words.

    """
    if not rules.consistent_words:
        return PAD if mark == " " else vocabulary.get(mark, UNKNOWN)
    word = clean(mark)
    return vocabulary.get(word, UNKNOWN) if word else PAD
