"""The text of the sample: sentences composed from templates and word lists."""

from types import MappingProxyType
from typing import Final

import numpy as np

GESTURE_WORDS: Final = ("huge", "tiny", "rise", "push", "stop", "circle", "myself", "maybe")
"""Words with their own gesture."""

_TEMPLATES: Final = (
    "the {size} {noun} {past} {place} the {noun}",
    "we watched the {noun} rise {place} the {noun}",
    "they {past} in a circle {place} the {noun}",
    "I {past} the {adjective} {noun} myself",
    "maybe they {past} another {noun}",
    "please stop, the {noun} was {adjective}",
    "you push the {adjective} {noun} {place} the {noun}",
    "{opener}, the {noun} {past} a {size} {noun}",
    "{opener}, nobody {past} the {noun}",
    "my {noun} {past} the {adjective} {noun} {place} the {noun}",
)
_WORDS: Final = MappingProxyType(
    {
        "size": ("huge", "tiny", "yellow", "narrow", "golden", "wooden"),
        "noun": (
            "river",
            "garden",
            "market",
            "doctor",
            "mountain",
            "window",
            "kitchen",
            "teacher",
            "village",
            "father",
            "station",
            "hammer",
            "island",
            "engine",
            "letter",
            "captain",
            "shadow",
            "orchard",
            "baker",
            "tower",
        ),
        "past": (
            "carried",
            "painted",
            "followed",
            "opened",
            "wanted",
            "gathered",
            "mended",
            "noticed",
            "answered",
            "covered",
        ),
        "adjective": (
            "quiet",
            "heavy",
            "broken",
            "famous",
            "pleasant",
            "hollow",
            "simple",
            "silver",
        ),
        "place": ("behind", "above", "near", "beyond", "across"),
        "opener": ("yesterday", "later", "after dinner", "at midnight", "somehow"),
    }
)
_FUNCTION_WORDS: Final = frozenset(
    (
        "the",
        "a",
        "in",
        "i",
        "they",
        "we",
        "you",
        "my",
        "was",
        "at",
        "after",
        "another",
        "please",
        "behind",
        "above",
        "near",
        "beyond",
        "across",
    )
)


def compose_sentences(random: np.random.Generator, count: int) -> list[str]:
    """Compose `count` sentences; consecutive ones never use the same template."""
    sentences: list[str] = []
    previous = -1
    for _ in range(count):
        choices = [k for k in range(len(_TEMPLATES)) if k != previous]
        template = int(random.choice(choices))
        words = [_fill(word, random) for word in _TEMPLATES[template].split()]
        sentences.append(" ".join(words))
        previous = template
    return sentences


def is_content_word(word: str) -> bool:
    """Return whether a word may get a beat."""
    return word.lower() not in _FUNCTION_WORDS


def _fill(word: str, random: np.random.Generator) -> str:
    """Replace a slot such as "{noun}," by a random word of its list; keep other words."""
    if not word.startswith("{"):
        return word
    choice = str(random.choice(_WORDS[word.strip("{},")]))
    return f"{choice}," if word.endswith(",") else choice
