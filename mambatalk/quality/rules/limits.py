"""What the checks of clips cannot see, as the report lists it."""

from typing import Final

CANNOT_SEE: Final = (
    "A clip that is mirrored with sides exchanged, as in a mirror, if fewer than ten clips of the "
    "speaker are known or the speaker's usual pose is symmetric: it is a plausible body.",
    "x and z of the translation exchanged, or the sign of one of them changed: the body walks in "
    "another direction. Feet that slide, in the check of the features, are the only trace.",
    "A constant offset of the body along the floor, and the direction that it faces.",
    "A body that stands up to 0.3 m too high or too low in every clip: without the body model this "
    "may be the length of its legs. The check of the features measures it with the body model.",
    "One fault in all clips alike, where a clip is only compared with others: expression columns "
    "in another order, or fingers shifted by one joint, in the whole corpus.",
    "A part that is frozen for a shorter time than the bound, or in a clip shorter than it, and a "
    "part that moves in a plausible way but was made up by the tracker.",
    "Noise that is not larger than that of the recordings themselves: about 0.003 rad.",
    "The face of another clip if jaw, expressions and audio were all exchanged together: this is "
    "another clip with a wrong body, and body and speech agree only loosely.",
    "Two expression columns that are exchanged and equally active.",
    "Left and right eye exchanged, and anything in the eyes: no model here is trained on them.",
    "Whether a gesture means what its semantic label says, and whether words are spelt correctly.",
    "Whether the emotion, or speech and conversation, are those of the clip id, as long as BEAT "
    "could have such an id: BEATX has no other record of them.",
    "A clock that is off by 1 % in single clips shorter than about 40 s, or in fewer than three "
    "clips of 12 s of a speaker, and an offset or another pace of clips whose mouth hardly moves "
    "with the audio: their measures are empty.",
    "Some faults in time in short clips, since mouth and gestures show them only on average. Each "
    "was planted in 20 clips of the sample, of 15 to 35 s: motion at half its speed, cut to the "
    "length of the audio, was found in 15, reversed motion in 19, and gestures half a second early "
    "in 14; 25 frames per second labelled 30, and an offset of 0.3 s, were found in all.",
    "Gestures alone that are too early or too late, where a speaker does not gesture on stressed "
    "syllables: in the two public clips of BEATX, arms and loudness correlate 2.1 and 3.3 times as "
    "much as by chance, at lags of 3.0 and 0.5 s, and 4 times are needed. Motion that is off by "
    "0.3 s as a whole is found there by the mouth.",
    "A word in place of another one of similar length.",
    "A clip of another speaker with a similar voice, microphone and the same shape parameters; "
    "people move differently, but not in a way that these rules measure.",
    "Copies of which fewer than about three gestures or loud syllables remain, or whose speed was "
    "changed by more than 3 %.",
)
"""Faults that a clip can have without a finding."""
