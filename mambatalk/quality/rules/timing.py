"""Rules for time: lags between sound and motion, pace, direction, cuts, order and lost frames."""

from typing import Final

from mambatalk.quality.rules.rule import Rule

MAX_LAG: Final = 0.2
"""Largest offset of one clip's audio, seconds; the two real clips measured are within 0.07."""
MAX_STROKE_LAG: Final = 0.35
"""Gestures are less exactly in time: in the sample they precede the stress by up to 0.17 s."""
MAX_PACE_ERROR: Final = 0.004
"""A clock that is off by 0.4 %; the paces that are compared differ by 0.5 %."""
MIN_BACKWARDS: Final = 1.5
"""Reversed, the two real clips fit by 2.5 and 4.1 better than as they are."""
MAX_CUT: Final = 3.0
"""In the two real clips the body moves at most 1.8 times as fast for one frame as around it."""
MIN_ORDER: Final = 1.45
"""At least 1.78 in the two real clips, 1.6 in samples; about 1 if frames are shuffled."""
MAX_HELD: Final = 0.3
"""Seconds without any motion; the real clips have none."""


def timing_rules() -> list[Rule]:
    """Return the rules for the time axis of a clip."""
    return [
        Rule(
            name="frame_rate_fits_sound",
            severity="quarantine",
            column="pace",
            reason="the mouth fits the audio only if the motion takes so many times as long: its"
            " frame rate is not 30",
            advice="export the motion again at 30 frames per second",
            minimum=1 - MAX_PACE_ERROR,
            maximum=1 + MAX_PACE_ERROR,
            basis="usual frame rates differ by 4 % and more; a pace is reported only if it fits "
            "more significantly than the motion as it is, by 1.2 at least",
        ),
        Rule(
            name="clock",
            severity="warning",
            column="clock",
            reason="audio and mouth drift apart, and fit only if the motion takes so many times as"
            " long: a clock runs slow or fast",
            advice="resample the motion or the audio",
            minimum=1 - MAX_PACE_ERROR,
            maximum=1 + MAX_PACE_ERROR,
            basis="the paces that are compared differ by 0.5 %; a pace is reported only if it fits "
            "more significantly than the motion as it is, by 1.2 at least",
        ),
        Rule(
            name="speaker_clock",
            severity="warning",
            column="speaker_clock",
            reason="audio and mouth drift apart in this speaker's clips, and fit better if the"
            " motion takes so many times as long: a clock runs slow or fast",
            advice="resample the motion or the audio of all clips of the speaker",
            basis="from three clips of 12 s on; in clean clips no other clock fits the median clip"
            " better",
            minimum=1 - MAX_PACE_ERROR,
            maximum=1 + MAX_PACE_ERROR,
        ),
        Rule(
            name="forwards",
            severity="quarantine",
            column="backwards",
            reason="the mouth fits the audio much better if the motion is reversed: it runs"
            " backwards",
            advice="reverse its frames",
            maximum=MIN_BACKWARDS,
            basis="reversed, the two clips of BEATX fit more significantly by 2.5 and 4.1",
        ),
        Rule(
            name="strokes_fit_sound",
            severity="warning",
            column="stroke_lag",
            reason="gestures and stressed syllables are offset in time (s)",
            advice="cut audio and motion at the same moment",
            minimum=-MAX_STROKE_LAG,
            maximum=MAX_STROKE_LAG,
            basis="gestures of the sample precede the stress by up to 0.17 s",
        ),
        Rule(
            name="no_cut",
            severity="warning",
            column="cut",
            when="cut_when",
            reason="the whole body jumps within one frame (times the speed around it): frames are"
            " missing there, or parts were joined",
            advice="export the clip again",
            maximum=MAX_CUT,
            basis="in the two clips of BEATX the body moves at most 1.8 times as fast for one "
            "frame as around it",
        ),
        Rule(
            name="frames_in_order",
            severity="quarantine",
            column="order",
            when="order_when",
            reason="two frames on, the body is hardly further than one frame on: frames are out of"
            " order, or noise hides the motion",
            advice="export the clip again",
            minimum=MIN_ORDER,
            basis="2 for smooth motion and 1 for shuffled frames",
        ),
        Rule(
            name="no_blank_frames",
            severity="quarantine",
            column="blank_frames",
            when="blank_when",
            reason="frames in which every joint has rotation zero: tracking was lost",
            advice="cut them out",
            maximum=0,
            basis="no person has every joint in the rest pose exactly, and trackers write zeros "
            "where they lost the person",
        ),
        Rule(
            name="no_blank_face",
            severity="warning",
            column="blank_face_frames",
            when="blank_face_when",
            reason="frames in which every expression is zero: the face was lost",
            advice="cut them out",
            maximum=0,
            basis="trackers write zeros where they lost the face",
        ),
        Rule(
            name="held",
            severity="warning",
            column="frozen_seconds",
            reason="all joints hold still exactly (s): a frame was repeated",
            advice="cut that part out",
            maximum=MAX_HELD,
            basis="a tracked body never repeats a frame exactly",
        ),
    ]
