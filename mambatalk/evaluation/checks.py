"""The checks of a model: against every baseline, and within tolerances of ground truth.

`CHECKS` is the one table of them. A check has a margin, a number that is positive if the model
passes, computed from the corrected metrics of a few rows. Leaving out one clip at a time gives the
standard error of the margin. A margin that is positive but within its interval is not shown: other
clips of the same kind could have made it negative.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import numpy as np
from scipy import stats

from mambatalk.evaluation.intervals import LEVEL, MIN_CLIPS, jackknife_error
from mambatalk.metrics.catalogue import (
    CATALOGUE,
    DEEPEST,
    EVENT_F1,
    EVENTS,
    GROUND_TRUTH,
    KID,
    PART_NAMES,
    RATIOS,
    metric_value,
)
from mambatalk.motion.skeleton import PARTS

MODEL: Final = "model"
BASELINES: Final[Mapping[str, str]] = {
    "mean_pose": "the mean pose",
    "random_clip": "a random training clip",
    "shuffled_audio": "the audio of another clip",
}

RANGE: Final = (0.7, 1.3)
"""Range of a part relative to ground truth. Below, a part looks stiff, and above, restless. Random
training clips of the same speakers have 0.98 to 1.10 on the sample's held-out clips."""
SPEED: Final = (0.6, 1.6)
"""Speed of a part relative to ground truth. A clip at half its speed has 0.5. Random training clips
have 1.01 to 1.32 on the sample, because steps are rare: wider than the tolerance of the range."""
MAX_JERK: Final = 2.0
"""Jerk relative to ground truth: decoding codes may add some, trembling has many times more. There
is no lower bound, because the noise of a capture can be most of the recorded jerk."""
MIN_CODES: Final = 0.5
"""Code perplexity relative to ground truth. Single clips of a speaker have 0.57 to 1.4 times the
mean of all on the sample, five clips 0.92 to 1.3."""
MIN_CORRELATION_GAIN: Final = 0.1
"""A part follows its speech if its correlation with the recording is above that of a baseline by
this much. Motion of another clip has 0, give or take 0.08 on the sample's five clips."""
MAX_POSTURE: Final = 2.0
"""Posture error relative to that of another clip of the same speaker, who does not always stand in
one posture either. A mirrored body and a body that faces elsewhere have more."""
MAX_DRIFT: Final = 2.0
"""Drift of the root relative to ground truth over the same time."""
MAX_HEIGHT_ERROR: Final = 0.03
"""Metres that the pelvis may be too high or too low on average: more shows as bent or floating
legs."""
MAX_PENETRATION: Final = 0.02
"""Metres that a foot joint may be below its height on the floor, in any frame. The lowest joints of
the stand-in are 1.3 to 1.7 cm above its soles: with more, the joint itself is in the ground."""
MAX_SKATING: Final = 1.5
"""Speed of feet on the floor relative to ground truth."""
CLOSER: Final = 0.9
"""The model counts as nearer to ground truth than a baseline if its distance is below this share of
the baseline's. Without this margin, a body that trembles would beat one that stands still."""

Group = Literal["Parts", "Ground", "Speech", "Corpus"]
Status = Literal["passed", "failed", "not shown"]
Values = Mapping[str, float]
"""One metric by row."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One expectation of a model.

    Args:
        group: What the check is about.
        expected: What is expected of the metric, in words.
        key: Key of the metric.
        rows: Rows that the margin is computed from, the model first.
        margin: Computes the margin from the metric's values by row; not negative if the model
            passes.
        ties_pass: Whether a margin of 0 passes.
        relative: Whether the model's value is shown as a multiple of the other row's.

    """

    group: Group
    key: str
    expected: str
    rows: tuple[str, ...]
    margin: Callable[[Values], float]
    ties_pass: bool
    relative: bool = False

    @property
    def name(self) -> str:
        """Name, unique among the checks, such as `Range, hands: 0.7 to 1.3 x ground truth`."""
        return f"{CATALOGUE[self.key].label}: {self.expected}"


@dataclass(frozen=True)
class CheckResult:
    """The result of one check, an item of `checks` in `metrics.json`."""

    group: Group
    metric: str
    """Key of the metric."""
    name: str
    status: Status
    text: str
    """The values compared, and why a check is not shown."""


def check_model(
    result: Mapping[str, Any], without_each: Sequence[Mapping[str, Mapping[str, float | None]]]
) -> list[CheckResult]:
    """Check the row `model` of an evaluation.

    Args:
        result: Content of `metrics.json` with the rows of all baselines.
        without_each: Metrics by row and key without each clip, from `Evaluation.without_each`.

    """
    has_events = metric_value(result, GROUND_TRUTH, EVENT_F1.key) is not None
    return [
        _run(check, result, without_each)
        for check in CHECKS
        if has_events or check.key not in EVENTS
    ]


def counts(results: Sequence[CheckResult]) -> dict[str, int]:
    """Return the number of checks by status, for MLflow and summaries."""
    statuses = [one.status for one in results]
    return {
        name.replace(" ", "_"): statuses.count(name) for name in ("passed", "failed", "not shown")
    }


def as_json(results: Sequence[CheckResult]) -> list[dict[str, str]]:
    """Return results as they are written to `metrics.json`."""
    return [asdict(one) for one in results]


def _run(
    check: Check,
    result: Mapping[str, Any],
    without_each: Sequence[Mapping[str, Mapping[str, float | None]]],
) -> CheckResult:
    values = {row: metric_value(result, row, check.key) for row in check.rows}
    text = _numbers(check, values)

    def answer(status: Status, reason: str = "") -> CheckResult:
        parts = "; ".join(filter(None, (text, reason)))
        return CheckResult(check.group, check.key, check.name, status, parts)

    known = _known(values)
    if known is None:
        return answer("not shown", "a value is undefined")
    if check.key == "fgd" and result["warnings"]:
        return answer("not shown", "too few feature rows")
    if check.key.startswith(RATIOS) and not known[GROUND_TRUTH]:
        return answer("not shown", "ground truth does not move")
    margin = check.margin(known)
    if margin < 0 or (margin == 0 and not check.ties_pass):
        return answer("failed")
    clips = int(result["clips"])
    if clips < MIN_CLIPS:
        return answer("not shown", f"{clips} of at least {MIN_CLIPS} clips")
    if check.key == DEEPEST:
        # A maximum: leaving out a clip says nothing about the deepest frame of others.
        return answer("passed")
    width = _interval_width(check, without_each)
    if width is None:
        return answer("not shown", f"fewer than {MIN_CLIPS} clips have a value")
    if margin < width:
        reason = f"the margin {_number(check, margin)} is within its interval of ± "
        return answer("not shown", reason + _number(check, width))
    return answer("passed")


def _known(values: Mapping[str, float | None]) -> dict[str, float] | None:
    known = {row: value for row, value in values.items() if value is not None}
    return known if len(known) == len(values) else None


def _interval_width(
    check: Check, without_each: Sequence[Mapping[str, Mapping[str, float | None]]]
) -> float | None:
    """Return half the width of the margin's 95 % interval; None with fewer than `MIN_CLIPS` clips.

    Student's t, because the error is estimated from the same few clips.
    """
    margins = []
    for rows in without_each:
        known = _known({row: rows[row].get(check.key) for row in check.rows})
        if known is not None:
            margins.append(check.margin(known))
    if len(margins) < MIN_CLIPS:
        return None
    quantile = stats.t.ppf((1 + LEVEL) / 2, len(margins) - 1)
    return float(quantile * jackknife_error(np.array(margins)))


def _numbers(check: Check, values: Mapping[str, float | None]) -> str:
    """Print the values that a check compares, such as `0.045 against 0.061 rad, 0.74 x`."""
    metric = CATALOGUE[check.key]
    texts = [metric.format(values[row]) for row in check.rows]
    numbers = f"{' against '.join(texts[:2])} {metric.printed_unit}".rstrip()
    if len(texts) > 2:
        return f"{numbers}, ground truth {texts[2]}"
    ours, theirs = values[MODEL], values[check.rows[-1]]
    if check.relative and ours is not None and theirs:
        return f"{numbers}, {ours / theirs:.2f} x"
    return numbers


def _number(check: Check, value: float) -> str:
    return CATALOGUE[check.key].format(value)


def _beats(group: Group, key: str, baseline: str, *, gain: float = 0.0) -> Check:
    """Expect a better value than a baseline, in the direction of the metric."""
    metric = CATALOGUE[key]
    rows: tuple[str, ...] = (MODEL, baseline)
    expected = f"{metric.better} than {BASELINES[baseline]}"

    def margin(values: Values) -> float:
        ours, theirs = values[MODEL], values[baseline]
        if metric.better == "nearer to ground truth":
            truth = values[GROUND_TRUTH]
            return CLOSER * abs(theirs - truth) - abs(ours - truth)
        return theirs - ours if metric.better == "lower" else ours - theirs - gain

    if metric.better == "nearer to ground truth":
        rows = (MODEL, baseline, GROUND_TRUTH)
        expected = f"nearer to ground truth than {BASELINES[baseline]}"
    elif gain:
        expected = f"at least {gain:g} above {BASELINES[baseline]}"
    return Check(
        group=group,
        key=key,
        expected=expected,
        rows=rows,
        margin=margin,
        ties_pass=False,
    )


def _like_truth(group: Group, key: str, tolerance: tuple[float, float]) -> Check:
    low, high = tolerance
    return Check(
        group=group,
        key=key,
        expected=f"{low:g} to {high:g} x ground truth",
        rows=(MODEL, GROUND_TRUTH),
        margin=lambda values: min(
            values[MODEL] - low * values[GROUND_TRUTH], high * values[GROUND_TRUTH] - values[MODEL]
        ),
        ties_pass=True,
        relative=True,
    )


def _at_least_times(group: Group, key: str, factor: float) -> Check:
    return Check(
        group=group,
        key=key,
        expected=f"at least {factor:g} x ground truth",
        rows=(MODEL, GROUND_TRUTH),
        margin=lambda values: values[MODEL] - factor * values[GROUND_TRUTH],
        ties_pass=True,
        relative=True,
    )


def _at_most_times(group: Group, key: str, factor: float, row: str = GROUND_TRUTH) -> Check:
    against = {GROUND_TRUTH: "ground truth", **BASELINES}[row]
    return Check(
        group=group,
        key=key,
        expected=f"at most {factor:g} x {against}",
        rows=(MODEL, row),
        margin=lambda values: factor * values[row] - values[MODEL],
        ties_pass=True,
        relative=True,
    )


def _at_most(group: Group, key: str, limit: float) -> Check:
    metric = CATALOGUE[key]
    expected = f"at most {metric.scaled(limit):g} {metric.printed_unit}"
    return Check(
        group=group,
        key=key,
        expected=expected,
        rows=(MODEL,),
        margin=lambda values: limit - values[MODEL],
        ties_pass=True,
    )


def _checks() -> Iterator[Check]:
    for coded in PARTS:
        yield _at_least_times("Parts", f"codes_{coded}", MIN_CODES)
    for part in PART_NAMES:
        yield _like_truth("Parts", f"range_{part}", RANGE)
        yield _like_truth("Parts", f"speed_{part}", SPEED)
        yield _at_most_times("Parts", f"jerk_{part}", MAX_JERK)
    for part in ("upper", "hands", "lower"):
        yield _at_most_times("Parts", f"posture_{part}", MAX_POSTURE, "random_clip")

    yield _at_most_times("Ground", "root_drift", MAX_DRIFT)
    yield _at_most("Ground", "height_error", MAX_HEIGHT_ERROR)
    yield _at_most("Ground", DEEPEST, MAX_PENETRATION)
    yield _at_most_times("Ground", "foot_skating", MAX_SKATING)

    # The correlation of the root says what that of the legs says.
    for part in PART_NAMES:
        if part != "root":
            for baseline in BASELINES:
                key = f"correlation_{part}"
                yield _beats("Speech", key, baseline, gain=MIN_CORRELATION_GAIN)
    for key in ("mse", "lvd", "srgr", "bc", *EVENTS):
        for baseline in BASELINES:
            yield _beats("Speech", key, baseline)

    # Against the mean pose alone: a random training clip is real motion, and the same model under
    # other audio moves as much; these metrics do not look at the audio.
    for key in ("fgd", KID.key, "l1div"):
        yield _beats("Corpus", key, "mean_pose")


CHECKS: Final = tuple(_checks())
"""Every check, in the order of the report."""
