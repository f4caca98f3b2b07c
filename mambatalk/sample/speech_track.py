"""The speech of one clip as the motion rules read it.

A speech track holds the waveform, aligned words and phones, sentences and stressed syllables.
"""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np
import soxr
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from mambatalk.corpus.textgrid import Interval
from mambatalk.motion.skeleton import FPS, SAMPLE_RATE
from mambatalk.sample.espeak import Phone, Utterance, Word, speak
from mambatalk.sample.phones import is_vowel, to_arpabet
from mambatalk.sample.style import SpeakerStyle
from mambatalk.sample.text import GESTURE_WORDS, compose_sentences, is_content_word

QUIET: Final = 0.3
MEDIUM: Final = 0.65
LOUD: Final = 1.0
"""Relative loudness of stressed vowels: without a beat, with a small beat, with a large beat."""
BEAT_SPACING: Final = 0.62
"""Smallest time between two beats, seconds."""
GESTURE_SPACING: Final = 0.95
"""Smallest time between a beat and a word with its own gesture, seconds."""
_END_MARGIN: Final = 0.6
"""Seconds without speech at the end of a clip."""
_MAX_GAP: Final = 0.06
"""Gaps up to this length, seconds, are closed between words and between phones."""
_FADE: Final = 0.03
"""Duration of loudness changes between words and of fades to silence, seconds."""
_RMS_WINDOW: Final = 0.03
"""Window of the short-time RMS, seconds."""
_VOWEL_RMS: Final = 0.18
"""Short-time RMS of the loudest vowels, full scale 1."""
_NOISE: Final = 1e-4
"""Standard deviation of the background noise, full scale 1."""

Waveform = NDArray[np.float32]


@dataclass(frozen=True)
class Stress:
    """A stressed syllable that the motion rules turn into a beat or a gesture."""

    time: float
    """Loudness peak of its vowel, seconds."""
    level: float
    """`MEDIUM` or `LOUD`."""
    word: str


@dataclass(frozen=True)
class SpeechTrack:
    """The speech of one clip."""

    wave: Waveform
    """Waveform (S,) at 16 kHz, 0.2 to 0.6 s longer than the motion."""
    frames: int
    """Number of motion frames, 30 per second."""
    words: list[Interval]
    """Words in lower case, without silences."""
    phones: list[Interval]
    """ARPAbet phones with stress digits, without silences."""
    sentences: list[tuple[float, float]]
    """Start and end of each sentence, seconds."""
    stresses: list[Stress]


def make_speech_track(
    style: SpeakerStyle, *, seconds: float, random: np.random.Generator
) -> SpeechTrack:
    """Speak sentences of about `seconds` in total, separated by pauses.

    Args:
        style: The speaker.
        seconds: Length of the motion.
        random: Chooses sentences, pauses and loudness.

    """
    frames = round(seconds * FPS)
    last_end = frames / FPS - _END_MARGIN
    sentences = compose_sentences(random, int(seconds / 2) + 2)
    utterances = speak(sentences, style.voice)
    length = frames / FPS + float(random.uniform(0.2, 0.6))
    samples = np.zeros(round(length * SAMPLE_RATE), np.float32)

    start = float(random.uniform(0.5, 0.9))
    words: list[Word] = []
    spans: list[tuple[float, float]] = []
    for utterance in utterances:
        placed = _shift_words(utterance, start)
        # A sentence that is too long is skipped, since a shorter one may still fit.
        if placed[-1].end > last_end and spans:
            continue
        _add_audio(samples, utterance, start)
        words += placed
        spans.append((placed[0].start, placed[-1].end))
        pause = float(random.choice([0.25, 0.4, 1.1]) + random.uniform(0, 0.2))
        start = placed[-1].end + pause

    levels = _choose_levels(words, random)
    wave, stresses = _apply_levels(samples, words, levels)
    wave += (_NOISE * random.standard_normal(len(wave))).astype(np.float32)

    word_intervals = [Interval(word.start, word.end, word.text.lower()) for word in words]
    phone_intervals = [to_arpabet(phone) for word in words for phone in word.phones]
    return SpeechTrack(
        wave=wave,
        frames=frames,
        words=_close_gaps(word_intervals),
        phones=_close_gaps(phone_intervals),
        sentences=spans,
        stresses=stresses,
    )


def _add_audio(samples: Waveform, utterance: Utterance, start: float) -> None:
    audio = soxr.resample(utterance.samples, utterance.rate, SAMPLE_RATE, quality="HQ")
    first = round(start * SAMPLE_RATE)
    audio = audio[: len(samples) - first]
    samples[first : first + len(audio)] += audio


def _close_gaps(intervals: list[Interval]) -> list[Interval]:
    """Extend intervals over gaps shorter than `_MAX_GAP`, as aligners do."""
    ends = [
        after.start if after.start - before.end < _MAX_GAP else before.end
        for before, after in pairwise(intervals)
    ]
    ends.append(intervals[-1].end)
    return [replace(interval, end=end) for interval, end in zip(intervals, ends, strict=True)]


def _shift_words(utterance: Utterance, offset: float) -> list[Word]:
    """Return the words of an utterance that starts at `offset` seconds."""
    shifted = []
    for word in utterance.words:
        phones = tuple(
            replace(phone, start=phone.start + offset, end=phone.end + offset)
            for phone in word.phones
        )
        shifted.append(Word(word.text, word.start + offset, word.end + offset, phones))
    return shifted


def _stressed_vowel(word: Word) -> Phone | None:
    vowels = [phone for phone in word.phones if is_vowel(phone)]
    return max(vowels, key=lambda phone: phone.stress, default=None)


def _has_gesture(word: Word) -> bool:
    return word.text.lower() in GESTURE_WORDS


def _choose_levels(words: list[Word], random: np.random.Generator) -> list[float]:
    """Choose the loudness of each word.

    Words with their own gesture are loud. Other content words get beats where there is enough time
    since the previous and until the next beat or gesture.
    """
    vowels = [_stressed_vowel(word) for word in words]
    times = [
        word.start if vowel is None else vowel.start
        for word, vowel in zip(words, vowels, strict=True)
    ]
    levels = [LOUD if _has_gesture(word) else QUIET for word in words]
    for k in np.argsort(times):
        # Distances to beats and gestures, in units of the spacing that each needs.
        distances = [
            abs(times[k] - times[j]) / (GESTURE_SPACING if _has_gesture(words[j]) else BEAT_SPACING)
            for j in range(len(words))
            if levels[j] > QUIET and j != k
        ]
        if (
            levels[k] == QUIET
            and is_content_word(words[k].text)
            and min(distances, default=9.0) >= 1
            and random.random() < 0.95
        ):
            levels[k] = LOUD if random.random() < 0.45 else MEDIUM
    return levels


def _apply_levels(
    samples: Waveform, words: list[Word], levels: list[float]
) -> tuple[Waveform, list[Stress]]:
    """Set the loudness of every word and find the loudness peak of every stressed vowel."""
    envelope = _rms(samples)
    gain = np.zeros(len(samples))
    for word, level in zip(words, levels, strict=True):
        vowel_rms = max(float(envelope[_vowel_span(word)].max()), 1e-3)
        first = round(word.start * SAMPLE_RATE)
        last = round(word.end * SAMPLE_RATE)
        gain[first:last] = np.clip(level * _VOWEL_RMS / vowel_rms, 0, 6)
    # Two box filters make a triangular one: smooth enough, and 20 times faster than a Gaussian.
    for _ in range(2):
        gain = uniform_filter1d(gain, round(_FADE * SAMPLE_RATE))
    wave = (samples * gain).astype(np.float32)

    envelope = _rms(wave)
    stresses = []
    for word, level in zip(words, levels, strict=True):
        if level > QUIET:
            span = _vowel_span(word)
            peak = span.start + int(envelope[span].argmax())
            stresses.append(Stress(peak / SAMPLE_RATE, level, word.text.lower()))
    return np.clip(wave, -0.99, 0.99), stresses


def _rms(samples: Waveform) -> NDArray[np.float64]:
    """Return the short-time RMS (S,) of a waveform."""
    power = samples.astype(np.float64) ** 2
    mean = uniform_filter1d(power, round(_RMS_WINDOW * SAMPLE_RATE))
    # The running sum of the filter can become slightly negative in silence.
    return np.sqrt(np.maximum(mean, 0))


def _vowel_span(word: Word) -> slice:
    """Return the samples of a word's stressed vowel, or of the whole word if it has no vowel."""
    vowel = _stressed_vowel(word) or word
    first = round(vowel.start * SAMPLE_RATE)
    last = round(vowel.end * SAMPLE_RATE)
    return slice(first, max(first + 1, last))
