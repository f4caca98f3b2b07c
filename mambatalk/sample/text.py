"""What the sample's speakers say: sentences composed from a word bank of our own."""

from types import MappingProxyType
from typing import Final

import numpy as np

ICONIC_WORDS: Final = ("huge", "tiny", "rise", "push", "stop", "circle", "myself", "maybe")
"""Words that have a gesture of their own."""

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
_BANK: Final = MappingProxyType(
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


def compose(random: np.random.Generator, count: int) -> list[str]:
    """Compose sentences; neighbours never share a template."""
    sentences: list[str] = []
    previous = -1
    for _ in range(count):
        template = int(random.choice([k for k in range(len(_TEMPLATES)) if k != previous]))
        sentences.append(" ".join(_fill(word, random) for word in _TEMPLATES[template].split()))
        previous = template
    return sentences


def is_content(word: str) -> bool:
    """Whether a word may carry a beat."""
    return word.lower() not in _FUNCTION_WORDS


def _fill(word: str, random: np.random.Generator) -> str:
    slot, comma = word.strip("{},"), "," if word.endswith(",") else ""
    return str(random.choice(_BANK[slot])) + comma if word.startswith("{") else word
