"""The motion rules of the sample: motion follows speech, and the event F1 score recognises it."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mambatalk.motion.body import load_body
from mambatalk.motion.clip import SmplxMotion
from mambatalk.motion.kinematics import foot_contacts
from mambatalk.motion.stand_in.model import rest_skeleton, write_stand_in
from mambatalk.sample.arms import GESTURES
from mambatalk.sample.motion_rules import GeneratedMotion, generate_motion, joint_positions
from mambatalk.sample.score import event_f1, lower_event_f1
from mambatalk.sample.speech_track import LOUD, SpeechTrack, make_speech_track
from mambatalk.sample.style import SpeakerStyle, speaker_styles

pytest.importorskip(
    "espeakng_loader", reason="the sample needs eSpeak NG: pip install 'mambatalk[sample]'"
)
STYLES = speaker_styles(3)
REST = rest_skeleton()
Array = NDArray[Any]


class Clip(NamedTuple):
    """A generated clip with the speech that it follows."""

    style: SpeakerStyle
    track: SpeechTrack
    generated: GeneratedMotion

    @property
    def motion(self) -> SmplxMotion:
        return self.generated.motion

    @property
    def joints(self) -> Array:
        """Positions (n, 55, 3) of the joints, metres."""
        return joint_positions(self.motion, REST)

    def times(self, *kinds: str, side: str | None = None) -> Array:
        """Times of the events of some kinds, seconds."""
        events = [event for event in self.generated.events if event["kind"] in kinds]
        return np.array([event["time"] for event in events if side in (None, event.get("side"))])

    def nod(self) -> Array:
        """Rotation of neck and head about x in each frame, radians."""
        return self.motion.poses[:, 36] + self.motion.poses[:, 45]


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    """Eight clips of 15 to 22 seconds."""
    made = []
    for k in range(8):
        style = STYLES[k % 3]
        random = np.random.default_rng([5, k])
        track = make_speech_track(style, seconds=15 + k, random=random)
        made.append(Clip(style, track, generate_motion(track, style, REST, random)))
    return made


def test_generated_motion_scores_high(clips: list[Clip]) -> None:
    scores = [event_f1(clip.motion, clip.generated.events) for clip in clips]
    assert min(scores) > 0.85
    assert np.mean(scores) > 0.93


def test_a_still_body_scores_zero(clips: list[Clip]) -> None:
    for clip in clips:
        frames = len(clip.motion)
        still = replace(
            clip.motion,
            poses=np.tile(clip.motion.poses.mean(0), (frames, 1)),
            expressions=np.tile(clip.motion.expressions.mean(0), (frames, 1)),
        )
        assert event_f1(still, clip.generated.events) == 0


def test_the_motion_of_another_clip_scores_low(clips: list[Clip]) -> None:
    scores = []
    for clip, other in itertools.permutations(clips, 2):
        events = [event for event in other.generated.events if event["time"] < 15]
        scores.append(event_f1(clip.motion[:450], events))
    assert np.mean(scores) < 0.3
    assert max(scores) < 0.6


def test_delayed_motion_scores_low(clips: list[Clip]) -> None:
    for clip in clips:
        late = replace(
            clip.motion,
            poses=np.roll(clip.motion.poses, 15, axis=0),
            expressions=np.roll(clip.motion.expressions, 15, axis=0),
        )
        assert event_f1(late, clip.generated.events) < 0.6


def test_constant_movement_scores_low(clips: list[Clip]) -> None:
    for clip in clips:
        wave = np.sin(2 * np.pi * 4 * np.arange(len(clip.motion)) / 30)[:, None] * 0.3
        shaking = replace(
            clip.motion,
            poses=clip.motion.poses.mean(0) + np.tile(wave, (1, 165)),
            expressions=clip.motion.expressions.mean(0) + np.tile(wave, (1, 100)),
        )
        assert event_f1(shaking, clip.generated.events) < 0.5


def test_smaller_and_slightly_noisy_motion_still_scores_high(clips: list[Clip]) -> None:
    for k, clip in enumerate(clips):
        mean = clip.motion.poses.mean(0)
        noise = np.random.default_rng(k).normal(0, 0.003, clip.motion.poses.shape)
        smaller = replace(
            clip.motion,
            poses=mean + 0.6 * (clip.motion.poses - mean) + noise,
            expressions=0.6 * clip.motion.expressions,
        )
        assert event_f1(smaller, clip.generated.events) > 0.7


def test_legs_of_generated_motion_score_high(clips: list[Clip]) -> None:
    kinds = {event["kind"] for clip in clips for event in clip.generated.events}
    assert kinds >= {"step", "shift"}
    scores = [lower_event_f1(clip.joints, clip.generated.events) for clip in clips]
    assert min(scores) > 0.9


def test_legs_of_another_clip_score_low(clips: list[Clip]) -> None:
    scores = []
    for clip, other in itertools.permutations(clips, 2):
        events = [event for event in other.generated.events if event["time"] < 15]
        scores.append(lower_event_f1(clip.joints[:450], events))
    assert np.mean(scores) < 0.25


def test_legs_that_stand_still_while_the_body_slides_score_zero(clips: list[Clip]) -> None:
    for clip in clips:
        frames = len(clip.motion)
        slide = np.linspace(0, 2, frames)[:, None, None] * np.array([1, 0, 0])
        assert lower_event_f1(clip.joints[:1] + slide, clip.generated.events) == 0


def test_legs_at_half_speed_or_late_score_low(clips: list[Clip]) -> None:
    for clip in clips:
        joints = clip.joints
        assert lower_event_f1(np.roll(joints, 15, axis=0), clip.generated.events) < 0.5
        slow = joints[np.arange(len(joints)) // 2]
        assert lower_event_f1(slow, clip.generated.events) < 0.6


def test_legs_that_tremble_score_low(clips: list[Clip]) -> None:
    for k, clip in enumerate(clips):
        noise = np.random.default_rng(k).normal(0, 0.02, clip.joints.shape)
        assert lower_event_f1(clip.joints[:1] + noise, clip.generated.events) < 0.4


def test_smaller_steps_and_shifts_still_score_high(clips: list[Clip]) -> None:
    for clip in clips:
        mean = clip.joints.mean(0)
        smaller = mean + 0.7 * (clip.joints - mean)
        assert lower_event_f1(smaller, clip.generated.events) > 0.8


def test_legs_without_events_have_no_score(clips: list[Clip]) -> None:
    still = np.repeat(clips[0].joints[:1], 60, axis=0)
    assert np.isnan(lower_event_f1(still, []))
    assert np.isnan(lower_event_f1(still[:1], []))
    assert lower_event_f1(still, [{"kind": "shift", "time": 1.0}]) == 0


def test_a_still_clip_without_events_scores_zero() -> None:
    still = SmplxMotion(
        poses=np.zeros((60, 165)), expressions=np.zeros((60, 100)), trans=np.zeros((60, 3))
    )
    assert event_f1(still, []) == 0


def test_standing_feet_do_not_move(clips: list[Clip]) -> None:
    for clip in clips:
        joints = joint_positions(clip.motion, REST)[:, [7, 8, 10, 11]]
        time = np.arange(len(joints)) / 30
        steps = {side: clip.times("step", side=side) for side in ("left", "right")}
        for k, side in enumerate(("left", "right", "left", "right")):
            speed = np.linalg.norm(np.diff(joints[:, k], axis=0), axis=-1) * 30
            distance = np.abs(time[:-1, None] - steps[side][None]).min(axis=1, initial=9.0)
            assert speed[distance > 0.32].max() < 1e-3
        for left, right in itertools.product(steps["left"], steps["right"]):
            assert abs(left - right) >= 0.5, "the feet step one after the other"


def test_feet_are_on_the_floor_and_are_lifted_in_a_step(clips: list[Clip]) -> None:
    heights = [joint_positions(clip.motion, REST)[:, [10, 11], 1] for clip in clips]
    for height in heights:
        assert height.min() == pytest.approx(0.03, abs=1e-3)
    assert max(height.max() for height in heights) > 0.06


def test_joints_and_contacts_agree_with_the_body_model(tmp_path: Path) -> None:
    write_stand_in(tmp_path / "body.npz")
    body = load_body(tmp_path / "body.npz")
    style = STYLES[1]
    rest = body.rest_joints(torch.from_numpy(style.betas))
    random = np.random.default_rng(4)
    track = make_speech_track(style, seconds=30, random=random)
    generated = generate_motion(track, style, rest.double().numpy(), random)
    motion = generated.motion

    matrices = Rotation.from_rotvec(motion.poses.reshape(-1, 3)).as_matrix()
    rotations = torch.from_numpy(matrices).float().view(-1, 55, 3, 3)
    joints = body.joints(rotations, rest, torch.from_numpy(motion.trans).float())
    expected = joint_positions(motion, rest.double().numpy())
    np.testing.assert_allclose(joints.numpy(), expected, atol=1e-5)

    steps = Clip(style, track, generated).times("step")
    assert len(steps)
    time = np.arange(len(joints)) / 30
    in_air = np.abs(time[:, None] - steps).min(axis=1) < 0.32
    contacts = foot_contacts(joints).numpy()
    assert contacts[~in_air].all()
    assert 0 < (contacts == 0).any(axis=1).sum() <= in_air.sum()


def test_only_breathing_remains_in_silence(clips: list[Clip]) -> None:
    for clip in clips:
        time = np.arange(clip.track.frames) / 30
        silent = np.ones(clip.track.frames, bool)
        for start, end in clip.track.sentences:
            silent &= (time < start - 0.5) | (time > end + 0.8)
        change = np.diff(clip.motion.poses, axis=0)
        speed = np.abs(change).max(axis=1)[silent[1:] & silent[:-1]] * 30
        assert len(speed)
        assert speed.max() < 0.03
        assert np.linalg.norm(change, axis=1)[silent[1:]].max() > 0


def test_beats_and_gestures_are_at_loudness_peaks(clips: list[Clip]) -> None:
    for clip in clips:
        strokes = clip.times("beat", "word_gesture")
        assert len(strokes) / (clip.track.frames / 30) > 0.4
        assert np.diff(strokes).min() > 0.5
        power = clip.track.wave.astype(float) ** 2
        for time in strokes:
            sample = round(time * 16_000)
            assert power[sample - 240 : sample + 240].mean() > 2 * power.mean()


def test_loud_beats_are_larger(clips: list[Clip]) -> None:
    sizes: dict[tuple[str, bool], list[float]] = {}
    for clip in clips:
        nod = clip.nod()
        rest = np.percentile(nod, 10)
        for event in clip.generated.events:
            if event["kind"] == "beat":
                key = (clip.style.name, event["level"] == LOUD)
                sizes.setdefault(key, []).append(nod[round(event["time"] * 30)] - rest)
    for style in STYLES:
        assert np.median(sizes[style.name, True]) > 1.2 * np.median(sizes[style.name, False])


def test_speakers_beat_with_their_own_hand() -> None:
    style = replace(STYLES[0], hand="left")
    for hand, elbow in (("left", 18), ("right", 19)):
        random = np.random.default_rng(0)
        track = make_speech_track(style, seconds=10, random=random)
        beats = [stress for stress in track.stresses if stress.word not in GESTURES]
        track = replace(track, stresses=beats)
        generated = generate_motion(track, replace(style, hand=hand), REST, random)
        poses = generated.motion.poses.reshape(-1, 55, 3)
        travel = np.abs(np.diff(poses, axis=0)).sum(axis=(0, 2))
        assert travel[elbow] > 1.2 * travel[37 - elbow]


def test_the_mouth_is_closed_in_silence_and_open_on_open_vowels(clips: list[Clip]) -> None:
    for clip in clips:
        jaw = clip.motion.poses[:, 66]
        assert jaw[:9].max() < 0.02
        assert np.abs(clip.motion.expressions[:9]).max() < 0.2
        open_frames = [round(time * 30) for time in clip.times("jaw")]
        assert (jaw[open_frames] > 0.4 * jaw.max()).all()
        closed_frames = [
            round(30 * (phone.start + phone.end) / 2)
            for phone in clip.track.phones
            if phone.text in ("M", "P", "B") and phone.end - phone.start > 0.06
        ]
        assert np.mean(jaw[closed_frames]) < 0.35 * np.mean(jaw[open_frames])


def test_motion_is_smooth_and_arms_hang_down(clips: list[Clip]) -> None:
    for clip in clips:
        poses = clip.motion.poses.reshape(-1, 55, 3)
        without_jaw = np.delete(poses, 22, axis=1)
        assert np.abs(np.diff(without_jaw, axis=0)).max() * 30 < 9
        assert np.abs(np.diff(without_jaw, 2, axis=0)).max() * 900 < 150

        first = joint_positions(clip.motion, REST)[0]
        shoulders, elbows, wrists = first[[16, 17]], first[[18, 19]], first[[20, 21]]
        assert (elbows[:, 1] < shoulders[:, 1] - 0.2).all()
        assert (wrists[:, 1] < shoulders[:, 1] - 0.15).all()
        assert (wrists[:, 2] > first[0, 2]).all()


def test_nods_can_be_predicted_from_loudness(clips: list[Clip]) -> None:
    """A linear model of the loudness around a frame predicts the nods of clips it has not seen."""

    def table(clip: Clip) -> tuple[Array, Array]:
        power = clip.track.wave.astype(float) ** 2
        envelope = np.sqrt(np.add.reduceat(power, np.arange(0, len(power), 533)))
        padded = np.pad(envelope, (20, 40 + clip.track.frames))
        windows = np.stack([padded[k : k + 41] for k in range(clip.track.frames)])
        constant = np.ones((len(windows), 1))
        return np.hstack([windows, windows**2, constant]), clip.nod()

    training = [table(clip) for clip in clips[:6]]
    inputs = np.concatenate([x for x, _ in training])
    targets = np.concatenate([y for _, y in training])
    weights = np.linalg.lstsq(inputs, targets, rcond=1e-6)[0]
    for clip in clips[6:]:
        x, y = table(clip)
        assert np.corrcoef(x @ weights, y)[0, 1] > 0.5
