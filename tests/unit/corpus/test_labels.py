"""Labels that follow from a clip's id."""

import pytest

from mambatalk.corpus.labels import BEATX_SPEAKERS, emotion_label, speaker_indices
from mambatalk.corpus.layout import parse_clip_id
from mambatalk.corpus.recordings import EMOTIONS, find_id_conflict
from mambatalk.fidelity import CORRECTED, PUBLISHED


@pytest.mark.parametrize(
    ("number", "emotion"),
    [
        (1, "neutral"),
        (64, "neutral"),
        (65, "happiness"),
        (73, "anger"),
        (81, "sadness"),
        (87, "contempt"),
        (95, "surprise"),
        (103, "fear"),
        (111, "disgust"),
        (118, "disgust"),
        (119, "neutral"),
    ],
)
def test_emotion_follows_the_recording_number_except_in_published_form(
    number: int, emotion: str
) -> None:
    assert EMOTIONS[emotion_label(0, number, rules=CORRECTED)] == emotion
    assert emotion_label(1, number, rules=CORRECTED) == 0
    assert emotion_label(0, number, rules=PUBLISHED) == 0


@pytest.mark.parametrize(
    ("clip", "conflict"),
    [
        ("2_scott_0_1_118", "recordings 1 to 118 are neutral and happiness and anger"),
        ("2_scott_0_66_72", None),
        ("2_scott_1_1_12", None),
        ("2_scott_1_13_13", "conversation number 13"),
        ("12_zhao_2_0_0", "speech number 0"),
        ("1_ada_0_119_480", None),
        ("2_ada_1_13_90", None),
        ("31_maria_8_118_119", "recordings 118 to 119 are neutral and disgust"),
    ],
)
def test_an_id_contradicts_itself(clip: str, conflict: str | None) -> None:
    found = find_id_conflict(parse_clip_id(clip))
    assert (found is None) if conflict is None else str(found).startswith(conflict)


def test_beatx_speakers_have_the_published_index_and_others_their_rank() -> None:
    indices = speaker_indices(BEATX_SPEAKERS)
    assert sorted(indices.values()) == list(range(25))
    chosen = {speaker: indices[speaker] for speaker in (1, 2, 25, 30, 28, 27)}
    assert chosen == {1: 0, 2: 1, 25: 24, 30: 7, 28: 13, 27: 18}
    assert speaker_indices([40, 31]) == {31: 0, 40: 1}
