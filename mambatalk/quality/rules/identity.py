"""Rules for identity: the voice and the body shape of a clip are those of its speaker."""

from mambatalk.config import CheckClipsConfig
from mambatalk.quality.rules.rule import Rule


def identity_rules(config: CheckClipsConfig) -> list[Rule]:
    """Return the rules for the voice and the body of a clip."""
    return [
        Rule(
            name="same_voice",
            severity="warning",
            column="voice_distance",
            reason="the voice differs from that of the speaker's other clips: another person, or"
            " another microphone",
            advice="listen to the clip and correct its id",
            maximum=config.max_voice_distance,
            parameter="max_voice_distance",
            basis="half of all pairs of speakers are more than 0.75 apart",
        ),
        Rule(
            name="voice_of_speaker",
            severity="warning",
            column="voice_of",
            reason="the voice is more like another speaker's",
            advice="listen to the clip and correct its id",
            absent=True,
            basis="at least two clips of the other speaker are known, and the distance to their "
            "median is less than three quarters of that to the own one",
        ),
        Rule(
            name="body_of_speaker",
            severity="warning",
            column="shape_of",
            reason="the shape parameters are another speaker's: the motion may be as well",
            advice="look at the clip and correct its id",
            absent=True,
            basis="most clips of the other speaker have exactly these parameters, few of this one",
        ),
    ]
