"""Labels that come from a clip's id: speaker index and emotion."""

from collections.abc import Iterable

from mambatalk.fidelity import FidelityRules

EMOTIONS = ("neutral", "happiness", "anger", "sadness", "contempt", "surprise", "fear", "disgust")
_FIRST_CLIP = (1, 65, 73, 81, 87, 95, 103, 111, 119)
"""Clip numbers of speech recordings at which each emotion begins (BEAT data set); 119 ends the
last.
"""
BEATX_SPEAKERS = (*range(1, 8), *range(9, 14), *range(15, 19), *range(20, 26), 27, 28, 30)
"""The 25 speakers of BEATX: 30 less the five that were dropped."""


def speaker_index(speaker: int) -> int:
    """Index 0 to 24 of a BEATX speaker.

    Ids 30, 28 and 27 take the places 8, 14 and 19, then 1 is taken off; all other ids stay
    themselves minus 1.
    Source: published loader.
    """
    return {30: 8, 28: 14, 27: 19}.get(speaker, speaker) - 1


def speaker_indices(speakers: Iterable[int]) -> dict[int, int]:
    """Index of each speaker: the published one where all are BEATX's, else places in ascending
    order.
    """
    ids = sorted(set(speakers))
    if set(ids) <= set(BEATX_SPEAKERS):
        return {speaker: speaker_index(speaker) for speaker in ids}
    return {speaker: place for place, speaker in enumerate(ids)}


def emotion_label(recording_type: int, start: int, *, rules: FidelityRules) -> int:
    """Emotion 0 (neutral) to 7 of a clip named speaker_name_type_start_end.

    Conversations (odd types) are neutral. Published: type and number are both read from the type's
    field, so that every clip comes out neutral.
    """
    if recording_type % 2 or not rules.emotion_from_recording_number:
        return 0
    return next(
        (k for k in range(len(EMOTIONS)) if _FIRST_CLIP[k] <= start < _FIRST_CLIP[k + 1]), 0
    )
