"""Beat consistency: the statements of its docstring."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mambatalk.errors import InputError
from mambatalk.metrics import BeatConsistency, L1Diversity
from mambatalk.metrics.beat_consistency import RULES, beat_consistency
from mambatalk.metrics.beats import BeatRule, alignment, audio_beats, joint_speed, motion_beats

VARIANTS = ("published", "corrected", "evaltools")
SPEEDS = np.full(55, 0.3)
STOPS = np.arange(75, 420, 30)
"""Frames at which every joint is slowest, one second apart."""


def _drifting(speed: float = 0.3) -> torch.Tensor:
    """Return joints that swing and drift sideways at `speed` m/s: slowest at STOPS, not still."""
    time = np.arange(450)
    swing = 0.2 * np.cos(2 * np.pi * (time - 75) / 60)[:, None] * np.array([0.0, 0.0, 1.0])
    drift = time[:, None] / 30 * speed * np.array([1.0, 0.0, 0.0])
    return torch.from_numpy(np.repeat((swing + drift)[:, None], 55, axis=1)).float()


def _clicks(frames: int, seconds: float, at: np.ndarray) -> np.ndarray:
    waveform = np.random.default_rng(0).normal(0, 1e-4, round(seconds * 16_000)).astype(np.float32)
    for frame in at:
        start = frame * 16_000 // 30
        waveform[start : start + 600] += 0.5
    return waveform


def _score(joints: torch.Tensor, waveform: np.ndarray, variant: str = "corrected") -> float:
    return float(BeatConsistency(SPEEDS, variant=variant)(joints, waveform))


def test_beats_are_found_where_the_joints_turn() -> None:
    beats = motion_beats(_drifting().double().numpy(), SPEEDS, RULES["corrected"])
    assert len(beats) == 13
    for times in beats:
        inside = STOPS[(STOPS >= 67) & (STOPS < 383)]
        np.testing.assert_allclose(times, (inside - 60) / 30, atol=1 / 30)


def test_clicks_on_the_beat_score_higher_than_clicks_between_beats() -> None:
    joints = _drifting()
    on_beat, between = _clicks(450, 15, STOPS), _clicks(450, 15, STOPS + 15)
    assert _score(joints, on_beat) > 0.9
    assert _score(joints, between) < 0.5 * _score(joints, on_beat)


@pytest.mark.parametrize("variant", VARIANTS)
def test_input_that_is_not_one_finite_clip_is_an_error(variant: str) -> None:
    joints = _drifting()
    waveform = _clicks(450, 15, STOPS)
    for points, audio in (
        (joints * torch.nan, waveform),
        (joints, waveform * np.nan),
        (joints[None], waveform),
        (joints, np.stack([waveform, waveform], 1)),
    ):
        with pytest.raises(ValueError, match="expected"):
            BeatConsistency(SPEEDS, variant=variant).update(points, audio)


def test_alignment_of_known_beats() -> None:
    onsets = np.array([1.0, 2.0])
    assert alignment(onsets, [np.array([1.0, 2.0])]) == 1
    assert alignment(onsets, [np.array([1.3, 2.3])]) == pytest.approx(np.exp(-0.5))
    assert alignment(onsets, [np.array([1.0, 2.0]), np.zeros(0)]) == 0.5, (
        "a joint without beats adds 0"
    )
    assert np.isnan(alignment(np.zeros(0), [onsets]))


@pytest.mark.parametrize("seconds", [5.0, 15.0, 18.0])
def test_corrected_does_not_change_when_silence_is_appended(seconds: float) -> None:
    """Whether the audio ends before the motion or after it."""
    joints = _drifting()
    waveform = _clicks(450, seconds, np.arange(75, min(420, 30 * seconds - 20), 30).astype(int))
    longer = np.concatenate([waveform, np.zeros(80_000, np.float32)])
    assert _score(joints, longer) == _score(joints, waveform)


def test_published_uses_two_more_seconds_of_a_longer_file() -> None:
    waveform = _clicks(450, 15, np.array([*STOPS, 400, 440]))
    longer = np.concatenate([waveform, np.zeros(80_000, np.float32)])
    assert len(audio_beats(longer, 450, RULES["published"])) > len(
        audio_beats(waveform, 450, RULES["published"])
    )
    for variant in ("corrected", "evaltools"):
        np.testing.assert_array_equal(
            audio_beats(longer, 450, RULES[variant]), audio_beats(waveform, 450, RULES[variant])
        )


def test_published_measures_folded_positions() -> None:
    joints = _noise(0)
    waveform = _clicks(450, 15, STOPS)
    folded = float(BeatConsistency(SPEEDS, variant="published")(joints, waveform))
    plain = beat_consistency(joints, waveform, SPEEDS, replace(RULES["published"], folded=False))
    by_hand = beat_consistency(
        (joints - joints.mean(0)).abs(), waveform, SPEEDS, replace(RULES["published"], folded=False)
    )
    assert folded == by_hand
    assert folded != plain


def test_l1_diversity_does_not_change_bc() -> None:
    """In the published code it overwrites its argument, so that the order of calls matters."""
    joints = _noise(0)
    waveform = _clicks(450, 15, STOPS)
    before = _score(joints, waveform)
    copy = joints.clone()
    L1Diversity(variant="published")(joints)
    assert torch.equal(joints, copy)
    assert _score(joints, waveform) == before


def test_the_threshold_is_read_at_the_beat_itself() -> None:
    """The motion is still at first. Published reads that speed for the beats that follow."""
    joints = _drifting()
    joints[:128] = joints[128]
    aligned = motion_beats(joints.double().numpy(), SPEEDS, RULES["corrected"])[0]
    shifted = motion_beats(
        joints.double().numpy(), SPEEDS, replace(RULES["corrected"], aligned=False)
    )[0]
    assert set(shifted) < set(aligned)
    assert min(shifted) >= (128 + 60 - 60) / 30 - 1 / 30


@pytest.mark.parametrize(
    ("slowest", "counting"),
    [(0.4, {"published", "corrected", "evaltools"}), (0.2, {"evaltools"}), (0.05, set())],
)
def test_a_beat_must_exceed_a_share_of_the_mean_speed(slowest: float, counting: set[str]) -> None:
    """0.3 of the joint's mean speed in the published and corrected metric, 0.1 in evaltools."""
    joints = _drifting(slowest * SPEEDS[0]).double().numpy()
    found = {
        variant for variant in VARIANTS if len(motion_beats(joints, SPEEDS, RULES[variant])[0])
    }
    assert found == counting


@pytest.mark.parametrize(("period", "found"), [(8, True), (6, False)])
def test_a_beat_is_slower_than_seven_frames_on_both_sides(period: int, found: bool) -> None:
    """Minima of speed that repeat every 8 frames are beats; every 6 frames they are not."""
    speed = 1 + 0.5 * np.cos(2 * np.pi * (np.arange(400) + 0.5) / period)
    # A tiny upward drift, so that a later minimum is never lower than an earlier one by rounding.
    path = np.cumsum(speed * (1 + 1e-6 * np.arange(400))) / 30
    joints = np.repeat(path[:, None, None] * np.array([1.0, 0, 0]), 55, axis=1)
    (beats, *_) = motion_beats(joints, SPEEDS, RULES["corrected"])
    assert (len(beats) > 10) == found


def test_speed_of_one_and_two_frames() -> None:
    joints = np.zeros((2, 1, 3))
    joints[1, 0, 0] = 0.1
    np.testing.assert_allclose(joint_speed(joints), [[3.0], [3.0]])
    np.testing.assert_array_equal(joint_speed(joints[:1]), [[0.0]])


def test_a_clip_of_five_seconds_has_a_value() -> None:
    metric = BeatConsistency(SPEEDS)
    assert 0 <= float(metric(_drifting()[:150], _clicks(150, 5, STOPS[:2]))) <= 1
    assert float(metric.weight) == 30


def test_a_clip_of_more_than_four_seconds_has_beats() -> None:
    joints = _drifting().double().numpy()
    frames = STOPS[2] + 15 + 60
    assert 120 < frames <= 240
    assert len(motion_beats(joints[:frames], SPEEDS, RULES["corrected"])[0])
    assert not len(motion_beats(joints[:120], SPEEDS, RULES["corrected"])[0])


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_mean_over_clips_is_weighted_by_frames(variant: str) -> None:
    """One metric over all clips is the mean of metrics over each, weighted by frames - 120."""
    clips = [
        (_noise(seed, frames), _clicks(frames, frames / 30, np.arange(70, frames - 70, 25)))
        for seed, frames in enumerate((300, 450, 200))
    ]
    metric = BeatConsistency(SPEEDS, variant=variant)
    values = [float(metric(*clip)) for clip in clips]
    weights = [len(joints) - 120 for joints, _ in clips]
    assert float(metric.compute()) == pytest.approx(np.average(values, weights=weights), rel=1e-12)
    assert all(0 <= value <= 1 for value in values)


@pytest.mark.parametrize("variant", VARIANTS)
def test_clips_without_a_value_are_left_out_of_the_mean(variant: str) -> None:
    metric = BeatConsistency(SPEEDS, variant=variant)
    assert np.isnan(float(metric(_noise(1), np.zeros(240_000, np.float32)))), "no onset"
    assert np.isnan(float(metric(_noise(1, 120), _clicks(120, 4, STOPS[:2])))), "too short"
    value = float(metric(_noise(2), _clicks(450, 15, STOPS)))
    assert float(metric.compute()) == value


def test_mean_velocity_of_another_shape_or_zero_is_an_input_error() -> None:
    expected = "mean joint speeds: expected 55 speeds in metres per second, positive for the upper"
    with pytest.raises(InputError, match=rf"^{expected}.*shape.*; use mean_velocity\.npy"):
        BeatConsistency(np.ones(54))
    with pytest.raises(InputError, match=rf"^{expected}.*speed of 0.*; use mean_velocity\.npy"):
        BeatConsistency(np.zeros(55))


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_without_audio_there_is_no_onset(rule: BeatRule) -> None:
    """Audio of at most two seconds has none left after the cut."""
    onsets = audio_beats(np.zeros(32_000, np.float32), 60, rule)
    assert onsets.shape == (0,)


def test_short_audio_is_padded_at_its_end() -> None:
    """Otherwise every onset would move, or the padding would be as long as the audio."""
    clicks = _clicks(450, 15, STOPS)[: 10 * 16_000]
    padded = np.concatenate([clicks, np.zeros(5 * 16_000, np.float32)])
    rule = RULES["corrected"]
    assert audio_beats(clicks, 450, rule).tolist() == audio_beats(padded, 450, rule).tolist()


@pytest.mark.parametrize("frames", [1, 60, 120, 121, 130])
def test_a_clip_of_at_most_four_seconds_has_no_beats(frames: int) -> None:
    joints = _drifting().double().numpy()[:frames]
    assert all(len(times) == 0 for times in motion_beats(joints, SPEEDS, RULES["corrected"]))


@pytest.mark.parametrize("frames", [150, 180])
def test_a_clip_of_five_or_six_seconds_has_beats(frames: int) -> None:
    joints = _drifting().double().numpy()[:frames]
    inside = STOPS[(STOPS >= 67) & (frames - 67 > STOPS)]
    for times in motion_beats(joints, SPEEDS, RULES["corrected"]):
        np.testing.assert_allclose(times, (inside - 60) / 30, atol=1 / 30)


def test_an_error_names_joints_or_waveform() -> None:
    metric = BeatConsistency(SPEEDS)
    with pytest.raises(ValueError, match="^joints: expected"):
        metric.update(_drifting() * torch.nan, np.zeros(16_000, np.float32))
    with pytest.raises(ValueError, match=r"^waveform: expected one finite channel \(S,\),"):
        metric.update(_drifting(), np.zeros((16_000, 2), np.float32))


def _noise(seed: int, frames: int = 450) -> torch.Tensor:
    steps = np.random.default_rng(seed).normal(0, 1, (frames + 20, 55, 3))
    smooth = np.apply_along_axis(np.convolve, 0, steps, np.hanning(21), "valid")
    return torch.from_numpy(0.05 * smooth).float()
