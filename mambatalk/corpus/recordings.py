"""The recordings of BEAT: which emotion was acted in each, and which ids they can have."""

from mambatalk.corpus.layout import ClipId

EMOTIONS = ("neutral", "happiness", "anger", "sadness", "contempt", "surprise", "fear", "disgust")
_FIRST_CLIP = (1, 65, 73, 81, 87, 95, 103, 111, 119)
"""First clip number of each emotion in the speech recordings of BEAT; 119 is the end."""
BEAT_NAMES = (
    *("wayne", "scott", "solomon", "lawrence", "stewart", "carla", "sophie", "catherine"),
    *("miranda", "kieks", "nidal", "zhao", "lu", "zhang", "carlos", "jorge", "itoi", "daiki"),
    *("jaime", "li", "ayana", "luqi", "hailing", "kexin", "goto", "reamey", "yingqing"),
    *("tiffnay", "hanieh", "katya"),
)
"""Names of the speakers 1 to 30 of BEAT."""
BEAT_RECORDINGS = {"speech": 118, "conversation": 12}
"""Recordings of each speaker of BEAT."""


def acted_emotion(recording_type: int, number: int) -> int:
    """Return the emotion, 0 (neutral) to 7, that BEAT's speakers acted in a recording.

    Args:
        recording_type: Third field of the clip id. Odd types are conversations, always neutral.
        number: Number of the recording. Numbers above 118 are not in BEAT, and count as neutral.

    """
    if recording_type % 2:
        return 0
    for emotion in range(len(EMOTIONS)):
        if _FIRST_CLIP[emotion] <= number < _FIRST_CLIP[emotion + 1]:
            return emotion
    return 0


def find_id_conflict(clip: ClipId) -> str | None:
    """Say why a clip id contradicts itself, or return None if it does not.

    A clip of several recordings has one label for emotion, so all of them must have the same one. A
    clip of a speaker of BEAT must be one of the recordings that BEAT has of that type.
    """
    if clip.recording_type % 2 == 0:
        # One number of each emotion is enough.
        numbers = {clip.start, clip.end, *(n for n in _FIRST_CLIP if clip.start < n < clip.end)}
        acted = sorted({acted_emotion(clip.recording_type, number) for number in numbers})
        if len(acted) > 1:
            names = " and ".join(EMOTIONS[emotion] for emotion in acted)
            return f"recordings {clip.start} to {clip.end} are {names}"

    kind = "conversation" if clip.recording_type % 2 else "speech"
    of_beat = 1 <= clip.speaker <= len(BEAT_NAMES) and clip.name == BEAT_NAMES[clip.speaker - 1]
    last = BEAT_RECORDINGS[kind]
    if of_beat and not (clip.start >= 1 and clip.end <= last):
        wrong = clip.end if clip.end > last else clip.start
        return f"{kind} number {wrong}; BEAT has 1 to {last} of {clip.name}"
    return None
