"""Labels derived from a clip's id: speaker index and emotion."""

from collections.abc import Iterable

from mambatalk.corpus.recordings import acted_emotion
from mambatalk.fidelity import FidelityRules

BEATX_SPEAKERS = (*range(1, 8), *range(9, 14), *range(15, 19), *range(20, 26), 27, 28, 30)
"""Ids of the 25 speakers of BEATX: the 30 of BEAT without the five that were dropped."""
_MOVED_SPEAKERS = {30: 8, 28: 14, 27: 19}
"""Speakers that take the place of a dropped one, so that indices have no gaps."""


def speaker_index(speaker_id: int) -> int:
    """Return the row of the embedding table (0 to 24) of a BEATX speaker.

    Speakers 30, 28 and 27 take the places of the dropped 8, 14 and 19; then the id minus 1 is
    the index. Source: the published data loader.
    """
    return _MOVED_SPEAKERS.get(speaker_id, speaker_id) - 1


def speaker_indices(speaker_ids: Iterable[int]) -> dict[int, int]:
    """Return the index of each speaker.

    If all speakers are from BEATX, the published indices are used. Otherwise the speakers are
    numbered in ascending order of their ids.
    """
    ordered = sorted(set(speaker_ids))
    if set(ordered) <= set(BEATX_SPEAKERS):
        return {speaker_id: speaker_index(speaker_id) for speaker_id in ordered}
    return {speaker_id: index for index, speaker_id in enumerate(ordered)}


def emotion_label(recording_type: int, start: int, *, rules: FidelityRules) -> int:
    """Return the emotion, 0 (neutral) to 7, of a clip named speaker_name_type_start_end.

    Args:
        recording_type: Third field of the clip id. Odd types are conversations, always neutral.
        start: Fourth field of the clip id, the number of the recording.
        rules: Whether the number of the recording is used. The published loader reads the number
            from the type's field and therefore labels every clip neutral.

    """
    return acted_emotion(recording_type, start) if rules.emotion_from_recording_number else 0
