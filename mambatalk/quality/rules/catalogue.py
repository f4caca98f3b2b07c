"""The data rules for clips and for features.

A critical finding stops the pipeline, a quarantined clip is left out of training with its reason,
and a warning is only reported. `mambatalk check` and the Great Expectations suites are built from
the same list of rules, so they always agree.
"""

from typing import Any, Final

from mambatalk.config import CheckClipsConfig, CheckFeaturesConfig
from mambatalk.motion.skeleton import FPS, SAMPLE_RATE
from mambatalk.quality.rules.frames import frame_rules
from mambatalk.quality.rules.identity import identity_rules
from mambatalk.quality.rules.labels import label_rules
from mambatalk.quality.rules.noise import noise_rules
from mambatalk.quality.rules.parts import part_rules
from mambatalk.quality.rules.rule import Rule
from mambatalk.quality.rules.timing import MAX_LAG, timing_rules
from mambatalk.quality.rules.usual import usual_rules

STANDARD_BOUNDS: Final = CheckClipsConfig(
    min_seconds=4.0,
    max_length_gap_seconds=8.0,
    max_joint_speed=60.0,
    max_translation_speed=8.0,
    max_frozen_seconds=1.0,
    max_silent_share=0.9,
    max_foot_offset=0.3,
    max_frozen_part_seconds=8.0,
    min_face_agreement=0.25,
    max_jitter=0.012,
    max_robust_z=8.0,
    min_expression_likeness=0.4,
    min_finger_likeness=0.9,
    min_side_likeness=-0.2,
    max_voice_distance=0.55,
    max_quarantined=0.25,
)
"""Bounds of all profiles, used for a corpus without a parameter file."""
JOINT_LIMITS: Final = {
    "trunk": 1.6,
    "arms": 2.9,
    "legs": 2.9,
    "jaw": 0.9,
    "eyes": 1.0,
    "hands": 2.7,
}
"""Largest plausible rotation of any joint of a group, radians.

The largest rotations seen in BEATX are, in this order, 0.7, 2.4, 1.3, 0.1, 0.1 and 2.2.
"""
MAX_SPEAKER_LAG: Final = 0.15
"""Largest median offset of a speaker, seconds; a median is more reliable than one clip."""


def clip_rules(config: CheckClipsConfig) -> list[Rule]:
    """Return the rules for the manifest of a clip store."""
    return [
        _quarantine("readable", "fault", "a file is missing or damaged", absent=True),
        _quarantine("listed", "split", "the clip is missing from the split table", required=True),
        *_motion_rules(config),
        *_audio_rules(config),
        *_text_rules(),
        *timing_rules(),
        *label_rules(),
        *_cross_clip_rules(),
        *identity_rules(config),
        *frame_rules(config),
        *part_rules(config),
        *noise_rules(config),
        *usual_rules(config),
    ]


def _motion_rules(config: CheckClipsConfig) -> list[Rule]:
    joint_limits = [
        _warning(
            f"{group}_limit",
            f"angle_{group}",
            "a joint is rotated further (rad) than a person can",
            maximum=limit,
            advice="look at the clip: its tracking was lost, or rotations are in another unit",
        )
        for group, limit in JOINT_LIMITS.items()
    ]
    return [
        _quarantine(
            "frame_rate",
            "fps",
            "motion at another frame rate plays too fast or too slow",
            allowed=(float(FPS),),
        ),
        _quarantine(
            "finite", "not_finite", "NaN or infinity in the motion makes every loss NaN", maximum=0
        ),
        _quarantine(
            "long_enough",
            "motion_seconds",
            "the clip is too short for windows and metrics",
            minimum=config.min_seconds,
            parameter="min_seconds",
        ),
        _quarantine(
            "rotation_norm",
            "max_angle",
            "no axis-angle rotation needs more than one full turn (rad)",
            maximum=6.5,
        ),
        _quarantine(
            "joint_speed",
            "max_joint_speed",
            "a joint jumps (rad/s): tracking was lost",
            maximum=config.max_joint_speed,
            parameter="max_joint_speed",
        ),
        _quarantine(
            "frozen",
            "frozen_seconds",
            "no joint moves at all (s): the recording froze",
            maximum=config.max_frozen_seconds,
            parameter="max_frozen_seconds",
        ),
        _quarantine(
            "repeated",
            "repeated_share",
            "many frames repeat the one before: lower frame rate or unstable tracking",
            maximum=0.3,
        ),
        _quarantine(
            "frozen_limb",
            "frozen_limb_seconds",
            "one arm is frozen (s) while the other moves: its tracking was lost",
            maximum=config.max_frozen_seconds,
            parameter="max_frozen_seconds",
        ),
        _quarantine(
            "upright",
            "tilt",
            "the body is tilted (rad from upright): the up axis is probably wrong",
            maximum=1.0,
        ),
        _quarantine(
            "translation_speed",
            "max_translation_speed",
            "the body jumps (m/s): tracking was lost",
            maximum=config.max_translation_speed,
            parameter="max_translation_speed",
        ),
        _warning(
            "joint_jerk",
            "max_joint_acceleration",
            "the speed of a joint changes abruptly (rad/s²)",
            maximum=1200,
        ),
        *joint_limits,
        _warning(
            "room",
            "translation_range",
            "the body moves far from its start (m): drift or walking",
            maximum=4,
        ),
        _warning(
            "rise",
            "translation_rise",
            "the body rises or sinks far (m): drift or sitting down",
            maximum=0.9,
        ),
        _warning(
            "expression_range",
            "max_expression",
            "expression coefficients far outside the usual range",
            maximum=15,
        ),
        _warning(
            "face_moves", "face_range", "the face never moves: it was not tracked", minimum=0.01
        ),
        _warning(
            "shape_range", "max_beta", "shape parameters far outside the usual range", maximum=6
        ),
    ]


def _audio_rules(config: CheckClipsConfig) -> list[Rule]:
    return [
        _quarantine(
            "same_length",
            "length_gap",
            "audio and motion differ in length (s): misaligned or from different recordings",
            minimum=-config.max_length_gap_seconds,
            maximum=config.max_length_gap_seconds,
            parameter="max_length_gap_seconds",
        ),
        _quarantine("audible", "peak", "the audio is silent", minimum=0.01),
        _quarantine(
            "overdriven",
            "clipped_share",
            "most samples exceed full scale: integers in a float file, or a wrong gain",
            maximum=0.5,
        ),
        _warning(
            "same_pace",
            "length_ratio",
            "motion and audio differ in length: a frame or sample rate may be wrong",
            minimum=0.75,
            maximum=1.33,
        ),
        _warning(
            "mouth_fits_sound",
            "mouth_lag",
            "mouth movement and loudness are offset in time (s)",
            minimum=-MAX_LAG,
            maximum=MAX_LAG,
        ),
        _warning(
            "sample_rate", "sample_rate", "the audio is resampled to 16 kHz", allowed=(SAMPLE_RATE,)
        ),
        _warning("mono", "channels", "the audio is mixed down to one channel", allowed=(1,)),
        _warning(
            "container",
            "container",
            "the file is not a WAV file despite its name",
            allowed=("WAV", "WAVEX"),
        ),
        _warning("clipping", "clipped_share", "the audio is clipped at full scale", maximum=0.001),
        _warning("dc_offset", "dc_offset", "the audio is not centred on zero", maximum=0.02),
        _warning(
            "silence",
            "silent_share",
            "most of the clip is silent",
            maximum=config.max_silent_share,
            parameter="max_silent_share",
        ),
        _warning("silent_start", "silent_start", "long silence at the start (s)", maximum=6),
        _warning("silent_end", "silent_end", "long silence at the end (s)", maximum=6),
    ]


def _text_rules() -> list[Rule]:
    return [
        _warning(
            "text", "has_textgrid", "no words: the clip is trained on audio alone", allowed=(True,)
        ),
        _warning(
            "text_covers_sound", "word_share", "almost none of the audio has words", minimum=0.1
        ),
        _warning(
            "text_fits_sound",
            "word_contrast",
            "words are no louder (dB) than the rest: the alignment is wrong",
            minimum=3,
        ),
        _warning(
            "text_in_time",
            "word_lag",
            "words and audio are offset in time (s)",
            minimum=-MAX_LAG,
            maximum=MAX_LAG,
        ),
        _warning(
            "text_ends_in_time",
            "words_past_end",
            "words continue after the end of the audio (s)",
            maximum=0.1,
        ),
        _warning(
            "word_length",
            "longest_word",
            "a word is implausibly long (s): the alignment failed",
            maximum=3,
        ),
        _warning("words_apart", "word_overlap", "two words overlap (s)", maximum=0.05),
        _warning(
            "semantic_label", "semantic_unknown", "semantic labels that are not in BEAT", maximum=0
        ),
        _warning(
            "semantic_score", "semantic_score", "a semantic score is greater than 1", maximum=1
        ),
        _warning(
            "semantic_ends_in_time",
            "semantic_past_end",
            "semantic labels continue after the end of the audio (s)",
            maximum=1,
        ),
    ]


def _cross_clip_rules() -> list[Rule]:
    """Return the rules whose columns compare a clip with other clips."""
    return [
        _quarantine(
            "duplicate", "copies", "the same motion and audio exist under two ids", maximum=1
        ),
        _quarantine(
            "same_motion",
            "motion_duplicate",
            "part of the motion is the same as another clip's",
            absent=True,
        ),
        _warning(
            "same_sound",
            "audio_duplicate",
            "the audio is the same as that of a clip with other motion",
            absent=True,
        ),
        _critical(
            "leak",
            "splits_of_content",
            "the same clip is in two splits, which makes every score too good",
            maximum=1,
        ),
        _critical(
            "leak_of_a_part",
            "split_leak",
            "motion or audio of a clip in another split, which makes every score too good",
            absent=True,
        ),
        _quarantine(
            "speaker_lag",
            "speaker_lag",
            "audio and motion of this speaker's clips are offset in time (s)",
            minimum=-MAX_SPEAKER_LAG,
            maximum=MAX_SPEAKER_LAG,
        ),
        _warning(
            "speaker_name", "speaker_names", "one speaker id has more than one name", maximum=1
        ),
        _warning(
            "speaker_trains",
            "training_clips",
            "no clip of this speaker is in the training split",
            minimum=1,
        ),
        _warning(
            "speaker_shape",
            "shape_share",
            "this speaker's clips have other shape parameters",
            minimum=0.51,
        ),
    ]


def feature_rules(config: CheckFeaturesConfig) -> list[Rule]:
    """Return the rules for the table of feature clips."""
    return [
        _critical("finite", "not_finite", "features contain NaN or infinity", maximum=0),
        _critical(
            "speaker_index",
            "speaker_index",
            "the index is outside the speaker table",
            minimum=0,
            required=True,
        ),
        _critical(
            "split", "split", "the split is unknown", allowed=("train", "val", "test", "additional")
        ),
        _warning(
            "known_words",
            "unknown_words",
            "most words are not in the vocabulary",
            maximum=config.max_unknown_words,
        ),
        _warning(
            "speech", "silent_share", "most of the clip is silent", maximum=config.max_silent_share
        ),
        _warning(
            "floor",
            "floor_height",
            "the feet are far from the floor (m): wrong up axis or another body",
            minimum=-config.max_floor_offset,
            maximum=config.max_floor_offset,
        ),
        _warning(
            "floor_drift",
            "floor_drift",
            "the floor height changes between start and end (m)",
            maximum=0.15,
        ),
        _warning("skating", "foot_skate", "feet slide while on the floor (m/s)", maximum=0.1),
        _warning(
            "contact", "contact_share", "the feet almost never touch the ground", minimum=0.02
        ),
    ]


def _critical(name: str, column: str, reason: str, **bounds: Any) -> Rule:
    return Rule(name=name, severity="critical", column=column, reason=reason, **bounds)


def _quarantine(name: str, column: str, reason: str, **bounds: Any) -> Rule:
    return Rule(name=name, severity="quarantine", column=column, reason=reason, **bounds)


def _warning(name: str, column: str, reason: str, **bounds: Any) -> Rule:
    return Rule(name=name, severity="warning", column=column, reason=reason, **bounds)
