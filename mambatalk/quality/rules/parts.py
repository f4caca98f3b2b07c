"""Rules on parts of the body: frozen ones, and a face that belongs to another clip."""

from mambatalk.config import CheckClipsConfig
from mambatalk.motion.skeleton import TRACKED_PARTS
from mambatalk.quality.rules.rule import Rule


def part_rules(config: CheckClipsConfig) -> list[Rule]:
    """Return the rules that compare the parts of one clip with each other."""
    frozen = [
        Rule(
            name=f"frozen_{part}",
            severity="quarantine",
            column=f"frozen_{part}_seconds",
            reason=f"{part.replace('_', ' ')} frozen (s) while the rest moves: its tracking was "
            "lost",
            maximum=config.max_frozen_part_seconds,
            advice="cut the frozen part out, or leave the clip out",
            parameter="max_frozen_part_seconds",
            when=f"frozen_{part}_when",
            basis="a tracked part never repeats a frame exactly: the longest time in BEATX is 0 s; "
            "the sample rests exactly in pauses, for up to 4.3 s",
        )
        for part in TRACKED_PARTS
    ]
    return [
        *frozen,
        Rule(
            name="face_agrees",
            severity="quarantine",
            column="face_agreement",
            reason="jaw and expressions do not move at the same times (correlation): one of them "
            "is of another clip",
            minimum=config.min_face_agreement,
            advice="export jaw and expressions from one recording",
            parameter="min_face_agreement",
            basis="the correlation is 0.70 and 0.74 in two clips of BEATX and at least 0.73 in "
            "samples; faces of other clips reach 0.15",
        ),
    ]
