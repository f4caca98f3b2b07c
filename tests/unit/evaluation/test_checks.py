"""The checks pass recorded motion, and fail for motion that single metrics can be fooled by.

Every way of fooling starts from the recording itself, so that whatever fails is due to it.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mambatalk.evaluation.checks import CHECKS, CheckResult, check_model, counts
from mambatalk.evaluation.score import Evaluation, TruthClip
from mambatalk.metrics.catalogue import EVENTS, GROUND_TRUTH
from mambatalk.models.fgd.network import FGDEncoder
from mambatalk.motion.body import Body
from mambatalk.motion.clip import SmplxMotion
from mambatalk.motion.skeleton import JOINTS, PART_JOINTS, PARTS, Part
from mambatalk.motion.stand_in.model import rest_skeleton
from mambatalk.sample.motion_rules import GeneratedMotion, generate_motion
from mambatalk.sample.speech_track import make_speech_track
from mambatalk.sample.style import speaker_styles
from tests.helpers.motions import clicks
from tests.helpers.stand_in_body import stand_in_body

pytest.importorskip(
    "espeakng_loader", reason="the sample needs eSpeak NG: pip install 'mambatalk[sample]'"
)
Scored = tuple[dict[str, Any], list[dict[str, dict[str, float | None]]]]
"""Content of metrics.json, and metrics without each clip."""
CLIPS = 8
SECONDS = 10
STYLE = speaker_styles(3)[0]


def _channels(part: str) -> NDArray[np.int64]:
    joints = np.array(PART_JOINTS[part])
    return (3 * joints[:, None] + np.arange(3)).ravel()


def _coarse_body() -> Body:
    """Return the stand-in with every 40th vertex, because faces take most of the time."""
    body = stand_in_body()
    vertices = torch.arange(0, body.vertex_count, 40)
    arrays = dict(body.named_buffers())
    for name in ("v_template", "shapedirs", "weights"):
        arrays[name] = arrays[name][vertices]
    arrays["posedirs"] = arrays["posedirs"][:, vertices]
    return Body(arrays, kind="stand-in")


def _clip(seed: int) -> GeneratedMotion:
    random = np.random.default_rng([seed, 11])
    track = make_speech_track(STYLE, seconds=SECONDS, random=random)
    return generate_motion(track, STYLE, rest_skeleton(), random)


def _frozen_legs(motion: SmplxMotion) -> SmplxMotion:
    poses = motion.poses.copy()
    poses[:, _channels("lower")] = poses[:, _channels("lower")].mean(0)
    trans = np.tile(motion.trans.mean(0), (len(motion), 1))
    return replace(motion, poses=poses, trans=trans)


def _frozen(motion: SmplxMotion, part: str) -> SmplxMotion:
    poses = motion.poses.copy()
    poses[:, _channels(part)] = poses[:, _channels(part)].mean(0)
    return replace(motion, poses=poses)


def _frozen_expressions(motion: SmplxMotion) -> SmplxMotion:
    mean = motion.expressions.mean(0)
    return replace(motion, expressions=np.tile(mean, (len(motion), 1)))


def _sliding_root(motion: SmplxMotion) -> SmplxMotion:
    slide = np.zeros((len(motion), 3))
    slide[:, 0] = -0.37 * np.arange(len(motion)) / 30
    return replace(motion, trans=motion.trans + slide)


def _sunk(motion: SmplxMotion) -> SmplxMotion:
    return replace(motion, trans=motion.trans - [0, 0.1, 0])


def _falling_at_the_end(motion: SmplxMotion) -> SmplxMotion:
    trans = motion.trans.copy()
    trans[-2:, 1] -= 0.7
    return replace(motion, trans=trans)


def _other_side(name: str) -> str:
    side, _, rest = name.partition("_")
    return {"left": f"right_{rest}", "right": f"left_{rest}"}.get(side, name)


def _mirrored(motion: SmplxMotion) -> SmplxMotion:
    """Swap left and right: joints change sides, rotations about y and z change sign."""
    order = [JOINTS.index(_other_side(name)) for name in JOINTS]
    poses = motion.poses.reshape(-1, 55, 3)[:, order] * np.float32([1, -1, -1])
    return replace(motion, poses=poses.reshape(len(poses), -1), trans=motion.trans * [-1, 1, 1])


def _half_speed(motion: SmplxMotion) -> SmplxMotion:
    frames = np.arange(len(motion))

    def slowed(values: NDArray[Any]) -> NDArray[Any]:
        columns = [np.interp(frames / 2, frames, column) for column in values.T]
        return np.stack(columns, axis=1).astype(values.dtype)

    return replace(
        motion,
        poses=slowed(motion.poses),
        expressions=slowed(motion.expressions),
        trans=slowed(motion.trans),
    )


def _jitter(motion: SmplxMotion) -> SmplxMotion:
    noise = np.random.default_rng(0).normal(0, 0.01, motion.poses.shape)
    return replace(motion, poses=motion.poses + noise.astype(np.float32))


def _part_of(motion: SmplxMotion, other: SmplxMotion, part: str) -> SmplxMotion:
    poses = motion.poses.copy()
    poses[:, _channels(part)] = other.poses[:, _channels(part)]
    trans = other.trans if part == "lower" else motion.trans
    return replace(motion, poses=poses, trans=trans)


def _fooled(motion: SmplxMotion, other: SmplxMotion) -> dict[str, SmplxMotion]:
    return {
        "frozen legs": _frozen_legs(motion),
        "frozen hands": _frozen(motion, "hands"),
        "frozen jaw": _frozen(motion, "face"),
        "frozen expressions": _frozen_expressions(motion),
        "sliding root": _sliding_root(motion),
        "sunk body": _sunk(motion),
        "falling at the end": _falling_at_the_end(motion),
        "mirrored body": _mirrored(motion),
        "half speed": _half_speed(motion),
        "jitter": _jitter(motion),
        "legs of another clip": _part_of(motion, other, "lower"),
        "hands of another clip": _part_of(motion, other, "hands"),
        "arms of another clip": _part_of(motion, other, "upper"),
        "expressions of another clip": replace(motion, expressions=other.expressions),
        "few codes": motion,
    }


FAILED = {
    "frozen legs": "Range, lower body",
    "frozen hands": "Range, hands",
    "frozen jaw": "Range, jaw",
    "frozen expressions": "Range, expressions",
    "sliding root": "Root drift",
    "sunk body": "Height error",
    "falling at the end": "Floor penetration, deepest",
    "mirrored body": "Posture error, upper body",
    "half speed": "Speed, upper body",
    "jitter": "Jerk, upper body",
    "legs of another clip": "Correlation, lower body",
    "hands of another clip": "Correlation, hands",
    "arms of another clip": "Correlation, upper body",
    "expressions of another clip": "Correlation, expressions",
    "few codes": "Code perplexity, lower body",
}
"""A check by which each way of fooling must be found."""


@pytest.fixture(scope="module")
def scored() -> Scored:
    """Score the recordings themselves, the baselines, and every way of fooling, on eight clips."""
    torch.manual_seed(0)
    evaluation = Evaluation(
        body=_coarse_body(), mean_velocity=None, fgd_encoder=FGDEncoder(20), fidelity=None
    )
    made = [_clip(seed) for seed in range(3 * CLIPS)]
    poses = np.concatenate([clip.motion.poses for clip in made])
    for k in range(CLIPS):
        clip = made[k]
        motion, random, shuffled = (made[k + i * CLIPS].motion for i in range(3))
        frames = min(len(motion), len(random), len(shuffled))
        motion, random, shuffled = motion[:frames], random[:frames], shuffled[:frames]
        still = replace(
            motion,
            poses=np.tile(poses.mean(0), (frames, 1)),
            expressions=np.tile(motion.expressions.mean(0), (frames, 1)),
            trans=np.tile(motion.trans.mean(0), (frames, 1)),
        )
        truth = TruthClip(name=str(k), motion=motion, waveform=clicks(frames), events=clip.events)
        other = made[(k + 1) % CLIPS].motion[:frames]
        assert len(other) == frames, "all clips have one length"
        evaluation.add(
            truth,
            {
                "recording": motion,
                "mean_pose": still,
                "random_clip": random,
                "shuffled_audio": shuffled,
                **_fooled(motion, other),
            },
            {
                GROUND_TRUTH: _codes(k, frames, size=12),
                "recording": _codes(k + CLIPS, frames, size=12),
                "few codes": _codes(k, frames, size=3),
            },
        )
    return evaluation.result(), evaluation.without_each()


def _codes(seed: int, frames: int, *, size: int) -> dict[Part, torch.Tensor]:
    """Draw one of `size` codes for each frame and part."""
    generator = torch.Generator().manual_seed(seed)
    return {part: torch.randint(size, (frames,), generator=generator) for part in PARTS}


def _check(scored: Scored, row: str, clips: int = CLIPS) -> dict[str, CheckResult]:
    """Check one row as the model."""
    result, left_out = scored
    rows = result["rows"] | {"model": result["rows"][row]}
    events = {key: result[key] | {"model": result[key][row]} for key in EVENTS}
    without_each = [{**values, "model": values[row]} for values in left_out]
    found = check_model({**result, **events, "rows": rows, "clips": clips}, without_each[:clips])
    return {one.name: one for one in found}


def _names(found: Mapping[str, CheckResult], status: str) -> list[str]:
    return [name for name, one in found.items() if one.status == status]


def test_the_recording_itself_fails_no_check(scored: Scored) -> None:
    found = _check(scored, "recording")
    assert _names(found, "failed") == []
    undefined = [name for name in found if name.startswith(("SRGR", "BC"))]
    not_shown = set(_names(found, "not shown")) - set(undefined)
    assert not [name for name in not_shown if "ground truth" in name], "1.00 x ground truth"


@pytest.mark.parametrize("way", FAILED)
def test_every_way_of_fooling_fails_a_check(scored: Scored, way: str) -> None:
    failed = _names(_check(scored, way), "failed")
    assert [name for name in failed if name.startswith(FAILED[way])], failed


@pytest.mark.parametrize("baseline", ["mean_pose", "random_clip", "shuffled_audio"])
def test_no_baseline_passes(scored: Scored, baseline: str) -> None:
    assert len(_names(_check(scored, baseline), "failed")) > 5


def test_fewer_than_five_clips_show_nothing_but_still_fail(scored: Scored) -> None:
    found = _check(scored, "recording", clips=4)
    assert _names(found, "passed") == []
    assert "4 of at least 5 clips" in found["Range, hands: 0.7 to 1.3 x ground truth"].text
    failed = _names(_check(scored, "frozen legs", clips=4), "failed")
    assert "Range, lower body: 0.7 to 1.3 x ground truth" in failed


def test_names_of_checks_are_unique() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS)


def _numbers(key: str, **values: float | None) -> dict[str, Any]:
    """Return an evaluation whose other metrics are undefined."""
    rows: dict[str, dict[str, Any]] = {}
    names = ("model", "ground_truth", "mean_pose", "random_clip", "shuffled_audio")
    for name in names:
        rows[name] = {check.key: {} for check in CHECKS}
        rows[name][key] = {"corrected": values.get(name)}
    events = {key: dict.fromkeys(names) for key in EVENTS}
    return {**events, "rows": rows, "clips": 5, "warnings": []}


def _one(
    key: str, name: str, models: list[float], truth: float = 1.0, **changes: Any
) -> CheckResult:
    """Check a metric whose values without each clip are `models`."""
    result = _numbers(key, model=float(np.mean(models)), ground_truth=truth, mean_pose=0.0)
    without = [
        {"model": {key: model}, "ground_truth": {key: truth}, "mean_pose": {key: 0.0}}
        for model in models
    ]
    for rows in without:
        rows |= {row: {} for row in ("random_clip", "shuffled_audio")}
    found = check_model(result | changes, without)
    return next(one for one in found if one.name == name)


def test_a_margin_within_its_interval_is_not_shown() -> None:
    name = "Range, hands: 0.7 to 1.3 x ground truth"
    steady = _one("range_hands", name, [0.80, 0.81, 0.80, 0.79, 0.80])
    assert steady.status == "passed"
    hangs_on_one_clip = _one("range_hands", name, [0.80, 0.81, 0.85, 0.70, 0.84])
    assert hangs_on_one_clip.status == "not shown"
    assert "within its interval" in hangs_on_one_clip.text
    assert _one("range_hands", name, [0.6] * 5).status == "failed"
    assert _one("range_hands", name, [1.4] * 5).status == "failed"


def test_a_tie_with_a_baseline_fails_and_a_tie_with_a_tolerance_passes() -> None:
    assert (
        _one("l1div", "Diversity: nearer to ground truth than the mean pose", [0.0] * 5).status
        == "failed"
    )
    name = "Foot skating: at most 1.5 x ground truth"
    assert _one("foot_skating", name, [0.0] * 5, truth=0.0).status == "passed"


def test_a_part_that_ground_truth_does_not_move_is_not_judged() -> None:
    found = _one("range_jaw", "Range, jaw: 0.7 to 1.3 x ground truth", [0.1] * 5, truth=0.0)
    assert found.status == "not shown"
    assert "ground truth does not move" in found.text


def test_fgd_of_too_few_rows_is_not_judged() -> None:
    name = "FGD: lower than the mean pose"
    result = _numbers("fgd", model=0.9, mean_pose=0.5, ground_truth=0.1)
    found = check_model(result | {"warnings": ["FGD of 5 feature rows"]}, [])
    (fgd,) = [one for one in found if one.name == name]
    assert fgd.status == "not shown"


def test_undefined_values_are_not_shown_and_missing_events_are_not_asked_for() -> None:
    found = check_model(_numbers("fgd"), [])
    assert {one.status for one in found} == {"not shown"}
    assert not [one for one in found if one.name.startswith("Event F1")]
    assert counts(found) == {"passed": 0, "failed": 0, "not_shown": len(found)}
