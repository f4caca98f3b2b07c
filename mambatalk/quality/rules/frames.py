"""Rules on coordinate frames, units and sides of a motion."""

from mambatalk.config import CheckClipsConfig
from mambatalk.quality.rules.rule import Rule

_TEMPLATE = "SMPL-X has y up, metres, and the left side first"


def frame_rules(config: CheckClipsConfig) -> list[Rule]:
    """Return the rules that find wrong axes, units, origins and sides in one clip."""
    return [
        Rule(
            name="translation",
            severity="quarantine",
            column="translation_fault",
            reason="the translation of the body is not its place in metres with y up",
            absent=True,
            advice="export the translation again, in metres, with y up, in every frame",
            basis="another reading of the same numbers puts the feet within 0.3 m of the floor, "
            "with the proportions of an adult, and the one that the format demands does not",
        ),
        Rule(
            name="on_floor",
            severity="quarantine",
            column="foot_height",
            reason="the lower foot is above (+) or below (-) the floor (m) through the clip",
            minimum=-config.max_foot_offset,
            maximum=config.max_foot_offset,
            advice="move the origin to the floor, or raise the bound for seated speakers",
            parameter="max_foot_offset",
            basis="legs of people between 1.5 m and 2.0 m differ by 0.12 m from the proportions "
            "used, a tilted foot adds 0.1 m; two clips of BEATX are within 0.01 m, samples of 30 "
            "speakers within 0.05 m",
        ),
        Rule(
            name="elbows_bend",
            severity="quarantine",
            column="elbow_bend",
            reason="an elbow bends backwards (mean rad): left and right are exchanged, or an axis "
            "is mirrored",
            minimum=-0.2,
            advice=f"export the joints in the order of SMPL-X: {_TEMPLATE}",
            basis="an elbow cannot bend backwards by more than 0.2 rad; clean clips have 0.48 to "
            "1.2, clips with exchanged sides the same with the other sign",
        ),
        Rule(
            name="elbow_axis",
            severity="quarantine",
            column="elbow_axis",
            reason="the elbows turn about another axis than the one on which they bend (share): "
            "axes of the rotations are exchanged",
            minimum=0.4,
            advice=f"convert rotations together with the translation: {_TEMPLATE}",
            basis="elbows are hinges about y; the share of y is 0.62 in BEATX and 0.90 in samples, "
            "0.2 or less with axes exchanged, and a third by chance",
        ),
        Rule(
            name="finger_order",
            severity="quarantine",
            column="finger_order",
            reason="the thumb closes as a finger does, or a finger opens: fingers are in the order "
            "of another model, or the hands are exchanged",
            minimum=-0.2,
            advice="reorder the fingers: index, middle, pinky, ring, thumb of the left hand, then "
            "of the right one",
            basis="fingers close about z and a thumb hardly does; the difference is at least 0.21 "
            "in BEATX and 0.87 in samples, and below -0.28 if fingers are in another order",
        ),
    ]
