"""Rules that compare a clip with its speaker's other clips, or with the whole corpus.

What is usual is learnt from the corpus that is checked (`clips/corpus_statistics.py`). The rules
are silent as long as fewer than ten clips can be compared.
"""

from mambatalk.config import CheckClipsConfig
from mambatalk.motion.skeleton import TRACKED_PARTS
from mambatalk.quality.rules.rule import Rule

_LEARNT = "from ten clips on; learnt from this corpus, stable if a tenth of it is faulty"


def usual_rules(config: CheckClipsConfig) -> list[Rule]:
    """Return the rules that find clips unlike the others."""
    activities = [
        Rule(
            name=f"usual_{part}",
            severity="warning",
            column=f"z_activity_{part}",
            reason=f"{part.replace('_', ' ')} far more (+) or less (-) active than in the other "
            "clips (robust z-score)",
            advice="look at the clip: tracking, scale and frame rate of this part",
            basis=f"{_LEARNT}; clean clips of 30 speakers are within 4.3",
            minimum=-config.max_robust_z,
            maximum=config.max_robust_z,
            parameter="max_robust_z",
        )
        for part in TRACKED_PARTS
    ]
    return [
        *activities,
        Rule(
            name="usual_floor",
            severity="warning",
            column="z_foot_height",
            reason="the feet are much higher (+) or lower (-) than in the other clips (robust "
            "z-score): another origin or another body",
            advice="check origin and scale of the translation",
            basis=f"{_LEARNT}; differences of 0.16 m are always allowed",
            minimum=-config.max_robust_z,
            maximum=config.max_robust_z,
            parameter="max_robust_z",
        ),
        Rule(
            name="expression_order",
            severity="quarantine",
            column="expression_likeness",
            reason="other expression coefficients are active than in the other clips "
            "(correlation): their columns are in another order, or of another model",
            minimum=config.min_expression_likeness,
            parameter="min_expression_likeness",
            advice="export the expressions in the order of FLAME",
            basis=f"{_LEARNT}; the correlation is 0.94 between two clips of BEATX, at least 0.98 "
            "in samples, and 0 with columns in another order",
        ),
        Rule(
            name="usual_fingers",
            severity="warning",
            column="finger_likeness",
            reason="the fingers are held unlike in the speaker's other clips (cosine): in another "
            "order, or shifted by a joint",
            minimum=config.min_finger_likeness,
            parameter="min_finger_likeness",
            advice="compare the order of the fingers with that of the other clips",
            basis=f"{_LEARNT}; 0.98 between two clips of BEATX, 0.999 in samples, 0.87 or less "
            "with fingers shifted by one joint",
        ),
        Rule(
            name="usual_sides",
            severity="warning",
            column="side_likeness",
            reason="the pose leans to the other side than in the speaker's other clips (1 is "
            "usual, -1 mirrored): the clip is mirrored",
            minimum=config.min_side_likeness,
            parameter="min_side_likeness",
            advice="check which side is left",
            basis=f"{_LEARNT}; 0.88 between two clips of BEATX, 0.89 to 1.12 in samples",
        ),
    ]
