"""Statistics of the labels of a clip: words against phones, against sound and against the clip id.

Word and phone tiers come from a forced aligner, so phones end where words end, and longer words
have more phones. Labels of another clip, exchanged tiers and shuffled words break these relations.
"""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mambatalk.corpus.layout import ClipId, language_of
from mambatalk.corpus.semantics import SemanticAnnotation
from mambatalk.corpus.textgrid import Interval, Tiers
from mambatalk.motion.skeleton import SAMPLE_RATE

MIN_WORDS: Final = 20
"""Fewer words are not enough for a correlation or a share."""
EDGE_SECONDS: Final = 0.011
"""Word and phone edges closer than this coincide: aligners work in steps of 10 ms."""
LETTER_LANGUAGES: Final = ("english", "spanish")
"""Languages whose longer words have more phones; a Chinese word has one or two characters."""
BLOCK_SAMPLES: Final = SAMPLE_RATE // 100
SPEECH_RANGE: Final = 10.0
"""Decibels below the median power of the words down to which sound counts as speech."""
PAUSE_SECONDS: Final = 1.0
"""Shortest gap between words to examine; shorter ones hold breaths and unclear words."""
BURST_SECONDS: Final = 0.1
"""Shortest speech within a gap; clicks are shorter."""

_ARPABET: Final = re.compile(
    r"(AA|AE|AH|AO|AW|AX|AY|EH|ER|EY|IH|IY|OW|OY|UH|UW)[0-2]?"
    r"|B|CH|D|DH|F|G|HH|JH|K|L|M|N|NG|P|R|S|SH|T|TH|V|W|Y|Z|ZH|spn|sil|sp"
)
_HAN_OR_KANA: Final = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")

Floats = NDArray[np.floating[Any]]


def label_statistics(clip: ClipId, tiers: Tiers, waveform: NDArray[np.float32]) -> dict[str, Any]:
    """Return statistics of words and phones.

    Args:
        clip: Id of the clip, which states its language.
        tiers: Words and phones.
        waveform: Audio (S,) at 16 kHz.

    Returns:
        `phone_like_words`, the share of words that are written as phones of ARPAbet;
        `phones_per_word`; `repeated_word`, the share of the most frequent word; `edges_off_phones`,
        the share of word edges where no phone starts or ends; `word_length_fit`, the correlation
        of the number of letters and of phones (or the duration, without phones);
        `unlabelled_speech`, seconds of speech in gaps between words, and `unlabelled_when`;
        `foreign_script`, the share of words whose script contradicts the language of the clip id.
        None where there are too few words, or no phones.

    """
    words = [word for word in tiers.words if word.text.strip()]
    phones = [phone for phone in tiers.phones if phone.text.strip()]
    gaps = unlabelled_intervals(words, waveform)
    statistics: dict[str, Any] = {
        "phone_like_words": None,
        "phones_per_word": None,
        "repeated_word": None,
        "edges_off_phones": None,
        "word_length_fit": None,
        "foreign_script": None,
        "unlabelled_speech": float(sum(end - start for start, end in gaps)),
        "unlabelled_when": f"{gaps[0][0]:.1f} to {gaps[-1][1]:.1f} s" if gaps else None,
    }
    if len(words) < MIN_WORDS:
        return statistics

    texts = [word.text.strip() for word in words]
    language = language_of(clip)
    statistics["phone_like_words"] = _share(_ARPABET.fullmatch(text) for text in texts)
    most_frequent = Counter(text.lower() for text in texts).most_common(1)[0][1]
    statistics["repeated_word"] = most_frequent / len(texts)
    if language in LETTER_LANGUAGES:
        statistics["foreign_script"] = _share(_HAN_OR_KANA.search(text) for text in texts)
    length = np.array([word.end - word.start for word in words])
    if phones:
        statistics["phones_per_word"] = len(phones) / len(words)
        statistics["edges_off_phones"] = _edges_off_phones(words, tiers.phones)
        starts = np.array([phone.start for phone in phones])
        # Half a step before the edges, so that rounding moves no phone to another word.
        first = np.searchsorted(starts, [word.start - EDGE_SECONDS / 2 for word in words])
        last = np.searchsorted(starts, [word.end - EDGE_SECONDS / 2 for word in words])
        length = (last - first).astype(np.float64)
    if language in LETTER_LANGUAGES:
        letters = np.array([len(text) for text in texts], np.float64)
        statistics["word_length_fit"] = _correlation(letters, length)
    return statistics


def semantic_label_statistics(rows: Sequence[SemanticAnnotation]) -> dict[str, Any]:
    """Return statistics of the times of semantic annotations.

    Returns:
        `semantic_overlap`, the longest time in seconds by which a row overlaps the next one,
        negative if there is a gap between all rows; `semantic_duration_error`, the largest
        difference in seconds between a row's stated duration and that from its start to its end.

    """
    ordered = sorted(rows, key=lambda row: (row.start, row.end))
    overlaps = [one.end - two.start for one, two in pairwise(ordered)]
    duration_errors = [abs(row.end - row.start - row.duration) for row in rows]
    return {
        "semantic_overlap": max(overlaps, default=0.0),
        "semantic_duration_error": max(duration_errors, default=0.0),
    }


def unlabelled_intervals(
    words: Sequence[Interval], waveform: NDArray[np.float32]
) -> list[tuple[float, float]]:
    """Return start and end of the speech in long gaps between words, seconds.

    Args:
        words: Words; intervals without text are ignored.
        waveform: Audio (S,) at 16 kHz.

    """
    blocks = waveform[: len(waveform) // BLOCK_SAMPLES * BLOCK_SAMPLES].reshape(-1, BLOCK_SAMPLES)
    power = np.einsum("ij,ij->i", blocks, blocks) / BLOCK_SAMPLES
    has_word = np.zeros(len(blocks), bool)
    for word in words:
        if word.text.strip():
            has_word[max(0, int(word.start * 100)) : max(0, int(word.end * 100))] = True
    if not has_word.any():
        return []
    speech = power > np.median(power[has_word]) * 10 ** (-SPEECH_RANGE / 10)
    intervals = []
    for first, last in runs(~has_word):
        if last - first < PAUSE_SECONDS * 100:
            continue
        for start, end in runs(speech[first:last]):
            if end - start >= BURST_SECONDS * 100:
                intervals.append(((first + start) / 100, (first + end) / 100))
    return intervals


def runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the first index of each run of True, and the index after its last."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return [(int(start), int(end)) for start, end in zip(edges[::2], edges[1::2], strict=True)]


def _edges_off_phones(words: Sequence[Interval], phones: Sequence[Interval]) -> float:
    marks = np.unique([edge for phone in phones for edge in (phone.start, phone.end)])
    edges = np.array([edge for word in words for edge in (word.start, word.end)])
    after = np.clip(np.searchsorted(marks, edges), 1, len(marks) - 1)
    distance = np.minimum(np.abs(marks[after] - edges), np.abs(edges - marks[after - 1]))
    return float((distance > EDGE_SECONDS).mean())


def _correlation(one: Floats, two: Floats) -> float | None:
    if one.std() == 0 or two.std() == 0:
        return None
    return float(np.corrcoef(one, two)[0, 1])


def _share(flags: Any) -> float:
    values = [bool(flag) for flag in flags]
    return sum(values) / len(values)
