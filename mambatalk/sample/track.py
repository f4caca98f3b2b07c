"""One clip's speech as the law reads it: sound, aligned words and phones, sentences and stressed
syllables.
"""

from dataclasses import dataclass, replace
from itertools import pairwise
from types import MappingProxyType
from typing import Final

import numpy as np
import soxr
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from mambatalk.corpus.textgrid import Interval
from mambatalk.motion.skeleton import FPS, SAMPLE_RATE
from mambatalk.sample.speech import Phone, Utterance, Word, speak
from mambatalk.sample.style import Style
from mambatalk.sample.text import ICONIC_WORDS, compose, is_content

_VOWELS: Final = MappingProxyType(
    {
        "a": "AE",
        "aa": "AE",
        "aI": "AY",
        "aI@": "AY",
        "aI3": "AY",
        "aU": "AW",
        "a#": "AH",
        "@": "AH",
        "@2": "AH",
        "@5": "AH",
        "@L": "AH",
        "0": "AA",
        "0#": "AA",
        "A:": "AA",
        "A@": "AA",
        "A#": "AA",
        "V": "AH",
        "E": "EH",
        "e@": "EH",
        "eI": "EY",
        "3": "ER",
        "3:": "ER",
        "I": "IH",
        "I#": "IH",
        "I2": "IH",
        "i@": "IH",
        "i@3": "IH",
        "i": "IY",
        "i:": "IY",
        "O": "AO",
        "O2": "AA",
        "O:": "AO",
        "O@": "AO",
        "o@": "AO",
        "oU": "OW",
        "oU#": "OW",
        "OI": "OY",
        "U": "UH",
        "U@": "UH",
        "u:": "UW",
        "u": "UW",
        "VR": "AH",
    }
)
_CONSONANTS: Final = MappingProxyType(
    {
        "b": "B",
        "d": "D",
        "dZ": "JH",
        "D": "DH",
        "f": "F",
        "g": "G",
        "h": "HH",
        "j": "Y",
        "k": "K",
        "l": "L",
        "L": "L",
        "m": "M",
        "n": "N",
        "n-": "N",
        "N": "NG",
        "p": "P",
        "r": "R",
        "r-": "R",
        "s": "S",
        "S": "SH",
        "t": "T",
        "t#": "T",
        "t2": "T",
        "tS": "CH",
        "T": "TH",
        "v": "V",
        "w": "W",
        "z": "Z",
        "Z": "ZH",
        ";": "Y",
        "?": "T",
    }
)
QUIET, MEDIUM, LOUD = 0.3, 0.65, 1.0
"""Loudness of a word's stressed vowel relative to the loudest: no beat, a small one, a big one."""
_GAP: Final = 0.06
_FADE: Final = 0.03
"""Seconds over which loudness changes between words, and sound fades into silence."""
_PEAK: Final = 0.18
"""Short-time RMS of the loudest vowels, full scale 1."""


@dataclass(frozen=True)
class Stress:
    """A stressed syllable that carries a beat."""

    time: float
    """Loudness peak of its vowel, seconds."""
    level: float
    """`MEDIUM` or `LOUD`."""
    word: str


@dataclass(frozen=True)
class Track:
    """What is heard in one clip and when."""

    wave: NDArray[np.float32]
    """Sound (S,) at 16 kHz, 0.2 to 0.6 s longer than the motion."""
    frames: int
    """Frames of motion at 30 a second."""
    words: list[Interval]
    """Without silences."""
    phones: list[Interval]
    """ARPAbet with stress digits, without silences."""
    sentences: list[tuple[float, float]]
    """Start and end of each, seconds."""
    stresses: list[Stress]


def make_track(style: Style, *, seconds: float, random: np.random.Generator) -> Track:
    """Speak about `seconds` of sentences and place them on a time line with pauses."""
    frames = round(seconds * FPS)
    budget = frames / FPS - 0.6
    spoken = speak(compose(random, int(seconds / 2) + 2), style.voice)
    samples = np.zeros(
        round((frames / FPS + float(random.uniform(0.2, 0.6))) * SAMPLE_RATE), np.float32
    )
    clock = float(random.uniform(0.5, 0.9))
    words: list[Word] = []
    sentences: list[tuple[float, float]] = []
    for utterance in spoken:
        placed = _shift(utterance, clock)
        if placed[-1].end > budget and sentences:
            continue
        sound = soxr.resample(utterance.samples, utterance.rate, SAMPLE_RATE, quality="HQ")
        first = round(clock * SAMPLE_RATE)
        sound = sound[: len(samples) - first]
        samples[first : first + len(sound)] += sound
        words += placed
        sentences.append((placed[0].start, placed[-1].end))
        clock = placed[-1].end + float(random.choice([0.25, 0.4, 1.1]) + random.uniform(0, 0.2))
    levels = _levels(words, random)
    wave, stresses = _loudness(samples, words, levels)
    wave += (1e-4 * random.standard_normal(len(wave))).astype(np.float32)
    return Track(
        wave,
        frames,
        _close_gaps([Interval(w.start, w.end, w.text.lower()) for w in words]),
        _close_gaps([_arpabet(phone) for word in words for phone in word.phones]),
        sentences,
        stresses,
    )


def _close_gaps(intervals: list[Interval]) -> list[Interval]:
    """Let an interval reach to the next across less than `_GAP` seconds, as aligners do."""
    ends = [b.start if b.start - a.end < _GAP else a.end for a, b in pairwise(intervals)]
    return [
        replace(a, end=end) for a, end in zip(intervals, [*ends, intervals[-1].end], strict=True)
    ]


def _shift(utterance: Utterance, by: float) -> list[Word]:
    return [
        Word(
            word.text,
            word.start + by,
            word.end + by,
            tuple(
                replace(phone, start=phone.start + by, end=phone.end + by) for phone in word.phones
            ),
        )
        for word in utterance.words
    ]


def _arpabet(phone: Phone) -> Interval:
    vowel = _VOWELS.get(phone.mnemonic)
    label = f"{vowel}{(0, 2, 1)[phone.stress]}" if vowel else _CONSONANTS.get(phone.mnemonic, "spn")
    return Interval(phone.start, phone.end, label)


def _stressed_vowel(word: Word) -> Phone | None:
    vowels = [phone for phone in word.phones if phone.mnemonic in _VOWELS]
    return max(vowels, key=lambda phone: phone.stress, default=None)


def _levels(words: list[Word], random: np.random.Generator) -> list[float]:
    """Loudness of each word; beats keep 0.62 s apart and make room for the words with a gesture of
    their own.
    """
    times = [(vowel.start if (vowel := _stressed_vowel(word)) else word.start) for word in words]
    levels = [LOUD if word.text.lower() in ICONIC_WORDS else QUIET for word in words]
    for k in np.argsort(times):
        near = [
            abs(times[k] - times[j]) / (0.95 if words[j].text.lower() in ICONIC_WORDS else 0.62)
            for j in range(len(words))
            if levels[j] > QUIET and j != k
        ]
        if (
            levels[k] == QUIET
            and is_content(words[k].text)
            and min(near, default=9.0) >= 1
            and random.random() < 0.95
        ):
            levels[k] = LOUD if random.random() < 0.45 else MEDIUM
    return levels


def _loudness(
    samples: NDArray[np.float32], words: list[Word], levels: list[float]
) -> tuple[NDArray[np.float32], list[Stress]]:
    """Set the loudness of every word, and find where it peaks."""
    envelope = _rms(samples)
    gain = np.zeros(len(samples))
    for word, level in zip(words, levels, strict=True):
        span = slice(round(word.start * SAMPLE_RATE), round(word.end * SAMPLE_RATE))
        gain[span] = np.clip(
            level * _PEAK / max(float(envelope[_vowel_span(word)].max()), 1e-3), 0, 6
        )
    for _ in range(
        2
    ):  # Two boxes make a triangle: as smooth as needed, at a twentieth of a Gaussian's cost.
        gain = uniform_filter1d(gain, round(_FADE * SAMPLE_RATE))
    wave = (samples * gain).astype(np.float32)
    envelope = _rms(wave)
    stresses = []
    for word, level in zip(words, levels, strict=True):
        if level > QUIET:
            span = _vowel_span(word)
            stresses.append(
                Stress(
                    (span.start + int(envelope[span].argmax())) / SAMPLE_RATE,
                    level,
                    word.text.lower(),
                )
            )
    return np.clip(wave, -0.99, 0.99), stresses


def _rms(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.sqrt(
        np.maximum(uniform_filter1d(samples.astype(np.float64) ** 2, round(0.03 * SAMPLE_RATE)), 0)
    )


def _vowel_span(word: Word) -> slice:
    vowel = _stressed_vowel(word) or word
    first = round(vowel.start * SAMPLE_RATE)
    return slice(first, max(first + 1, round(vowel.end * SAMPLE_RATE)))
