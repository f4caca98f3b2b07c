"""Values of clean clips, which show how far the bounds of the rules are from good data.

Measured with the code of this version on the two public clips of BEATX (one speaker, two minutes)
and on `mambatalk sample --hours 1 --speakers 30` (144 clips).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

Range = tuple[float, float]
MEASURED: Final[Mapping[str, tuple[Range | None, Range | None]]] = MappingProxyType(
    {
        "angle_arms": ((2.4, 2.4), (1.6, 2.2)),
        "angle_eyes": ((0.09, 0.097), (0.039, 0.14)),
        "angle_hands": ((2.1, 2.2), (0.42, 0.9)),
        "angle_jaw": ((0.059, 0.068), (0.22, 0.24)),
        "angle_legs": ((0.88, 1.3), (0.34, 0.73)),
        "angle_trunk": ((0.43, 0.68), (0.095, 0.19)),
        "backwards": ((0.0, 0.0), (0.0, 0.0)),
        "blank_face_frames": ((0.0, 0.0), (0.0, 0.0)),
        "blank_frames": ((0.0, 0.0), (0.0, 0.0)),
        "clipped_share": ((0.0, 0.0), (0.0, 0.0)),
        "clock": ((1.0, 1.0), (1.0, 1.0)),
        "cut": ((1.5, 1.8), (1.0, 1.2)),
        "dc_offset": ((5.9e-06, 1.6e-05), (9.5e-05, 0.0019)),
        "edges_off_phones": ((0.0, 0.0), (0.0, 0.0)),
        "elbow_axis": ((0.62, 0.68), (0.9, 0.95)),
        "elbow_bend": ((0.79, 1.0), (0.48, 1.2)),
        "expression_jitter": ((0.099, 0.1), (0.046, 0.11)),
        "expression_likeness": (None, (0.98, 1.0)),
        "face_agreement": ((0.7, 0.74), (0.73, 0.92)),
        "face_range": ((6.5, 6.5), (7.0, 9.0)),
        "finger_order": ((0.22, 0.24), (0.87, 0.9)),
        "foot_height": ((0.0011, 0.0067), (-0.044, 0.018)),
        "foreign_script": ((0.0, 0.0), (0.0, 0.0)),
        "frozen_arms_seconds": ((0.0, 0.0), (0.9, 4.3)),
        "frozen_face_seconds": ((0.0, 0.0), (0.43, 3.5)),
        "frozen_jaw_seconds": ((0.0, 0.0), (0.53, 3.5)),
        "frozen_left_hand_seconds": ((0.0, 0.0), (0.9, 4.3)),
        "frozen_legs_seconds": ((0.0, 0.0), (0.5, 3.3)),
        "frozen_limb_seconds": ((0.0, 0.0), (0.0, 0.033)),
        "frozen_right_hand_seconds": ((0.0, 0.0), (0.9, 4.3)),
        "frozen_seconds": ((0.0, 0.0), (0.0, 0.033)),
        "jitter": ((0.0033, 0.0034), (0.0004, 0.0014)),
        "jitter_burst": ((0.004, 0.0079), (0.00038, 0.0012)),
        "length_gap": ((0.56, 1.9), (0.2, 0.6)),
        "length_ratio": ((0.97, 0.99), (0.96, 0.99)),
        "longest_word": ((0.86, 0.99), (0.5, 0.84)),
        "max_angle": ((2.4, 2.4), (1.6, 2.2)),
        "max_beta": ((2.5, 2.5), (0.33, 1.0)),
        "max_expression": ((6.1, 6.2), (5.4, 7.4)),
        "max_joint_acceleration": ((270.0, 450.0), (49.0, 72.0)),
        "max_joint_speed": ((11.0, 17.0), (4.1, 7.3)),
        "max_translation_speed": ((0.38, 0.7), (0.15, 0.29)),
        "motion_seconds": ((60.0, 64.0), (14.0, 34.0)),
        "mouth_lag": ((0.033, 0.067), (0.0, 0.067)),
        "order": ((1.8, 1.9), (1.7, 2.0)),
        "pace": ((1.0, 1.0), (1.0, 1.0)),
        "peak": ((0.9, 0.93), (0.4, 0.92)),
        "phone_like_words": ((0.0, 0.0), (0.0, 0.0)),
        "phones_per_word": ((3.3, 3.4), (3.3, 4.3)),
        "repeated_share": ((0.0, 0.0), (0.0, 0.0037)),
        "repeated_word": ((0.07, 0.08), (0.12, 0.24)),
        "semantic_duration_error": ((3.6e-15, 3.6e-15), (4.4e-16, 5.3e-15)),
        "semantic_overlap": ((0.0, 0.0), (0.0, 0.0)),
        "semantic_past_end": ((-0.19, -0.19), (-0.6, -0.2)),
        "semantic_score": ((1.0, 1.0), (0.7, 0.7)),
        "shape_share": ((1.0, 1.0), (1.0, 1.0)),
        "silent_end": ((0.3, 1.3), (0.81, 4.2)),
        "silent_share": ((0.1, 0.11), (0.25, 0.51)),
        "silent_start": ((1.5, 1.6), (0.51, 0.91)),
        "speaker_lag": (None, (0.0, 0.067)),
        "stroke_lag": (None, (-0.17, 0.17)),
        "tilt": ((0.31, 0.32), (0.0, 0.0)),
        "translation_jitter": ((4.9e-05, 6.5e-05), (0.0, 1.5e-05)),
        "translation_range": ((0.5, 1.3), (0.069, 0.14)),
        "translation_rise": ((0.041, 0.23), (0.006, 0.006)),
        "unlabelled_speech": ((0.0, 0.0), (0.0, 0.0)),
        "voice_distance": ((0.32, 0.32), (0.052, 0.22)),
        "word_contrast": ((25.0, 26.0), (24.0, 44.0)),
        "word_lag": ((0.033, 0.067), (0.0, 0.033)),
        "word_length_fit": ((0.94, 0.96), (0.85, 0.94)),
        "word_overlap": ((0.0, 0.0), (0.0, 0.0)),
        "word_share": ((0.87, 0.89), (0.53, 0.81)),
        "words_past_end": ((0.0, 0.0), (0.0, 0.0)),
        "z_activity_arms": (None, (-2.6, 1.1)),
        "z_activity_face": (None, (-0.21, 0.26)),
        "z_activity_jaw": (None, (-2.1, 1.1)),
        "z_activity_left_hand": (None, (-4.1, 2.0)),
        "z_activity_legs": (None, (-1.4, 4.2)),
        "z_activity_right_hand": (None, (-3.4, 0.95)),
        "z_foot_height": (None, (-1.7, 1.1)),
    }
)
"""Smallest and largest value in BEATX and in the sample, by column; None if not measured there."""


def describe_clean(column: str) -> str:
    """Say which values clean clips have in a column; empty if that was not measured."""
    ranges = MEASURED.get(column, (None, None))
    names = ("in two clips of BEATX", "in a sample of 30 speakers")
    parts = []
    for name, values in zip(names, ranges, strict=True):
        if values is not None:
            low, high = values
            parts.append(f"{low:g} to {high:g} {name}" if low < high else f"{low:g} {name}")
    return ", ".join(parts)
