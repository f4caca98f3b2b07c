"""Rules on noise in the motion, and on absurd values in any array."""

from mambatalk.config import CheckClipsConfig
from mambatalk.quality.rules.rule import Rule


def noise_rules(config: CheckClipsConfig) -> list[Rule]:
    """Return the rules that find trembling, changes of representation and absurd values."""
    return [
        Rule(
            name="absurd_value",
            severity="quarantine",
            column="largest_value",
            reason="a value that no unit explains: a damaged file or a division by zero",
            maximum=1e4,
            advice="export the clip again",
            when="largest_value_when",
            basis="rotations are at most 6.3 rad or 360 degrees, coefficients below 20, places "
            "below 10 m or 10,000 mm",
        ),
        Rule(
            name="absurd_sample",
            severity="quarantine",
            column="largest_sample",
            reason="an audio sample that no scale explains (full scale is 1)",
            maximum=1e5,
            advice="export the audio again",
            when="largest_sample_when",
            basis="integers of 16 bits in a float file reach 32,768",
        ),
        Rule(
            name="trembles",
            severity="quarantine",
            column="jitter",
            reason="a joint trembles (rad from frame to frame) in half of the clip: its tracking "
            "is unstable",
            maximum=config.max_jitter,
            advice="smooth the rotations of this joint, or leave the clip out",
            parameter="max_jitter",
            basis="the noise of the joint that trembles most is 0.0034 rad in BEATX and 0.0014 "
            "in samples; noise of 0.05 rad on one axis gives 0.02",
        ),
        Rule(
            name="trembles_at_times",
            severity="warning",
            column="jitter_burst",
            reason="a joint of the body trembles (rad) for two seconds",
            maximum=0.03,
            advice="look at these seconds; cut or smooth them",
            when="jitter_burst_when",
            basis="the worst two seconds in BEATX have 0.0079 rad, the fastest gestures included",
        ),
        Rule(
            name="place_trembles",
            severity="quarantine",
            column="translation_jitter",
            reason="the whole body trembles (m from frame to frame)",
            maximum=0.005,
            advice="smooth the translation, or leave the clip out",
            basis="the noise of the translation is 0.0001 m in BEATX",
        ),
        Rule(
            name="face_trembles",
            severity="warning",
            column="expression_jitter",
            reason="an expression coefficient is mostly noise (share of its deviation)",
            maximum=0.4,
            advice="smooth the expressions",
            basis="the noisiest coefficient of BEATX has 0.10, and of samples 0.10",
        ),
        Rule(
            name="one_branch",
            severity="warning",
            column="branch_flips",
            reason="axis-angle vectors jump by a full turn (frames) although the rotation does "
            "not: resampling or smoothing them would turn the joint around",
            maximum=0,
            advice="unwrap the vectors, or convert to rotations before changing them",
            when="branch_flips_when",
            basis="no frame of BEATX or of samples jumps by more than 0.6 rad",
        ),
    ]
