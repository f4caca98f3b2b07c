"""The sample's law: feet stand, silence is still, strokes fall on loud vowels, and its score tells
who obeys it.
"""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from mambatalk.motion.body import load_body
from mambatalk.motion.clip import SmplxMotion
from mambatalk.motion.kinematics import foot_contacts
from mambatalk.motion.stand_in.model import rest_skeleton, write_stand_in
from mambatalk.sample.arms import GESTURES
from mambatalk.sample.motion_rules import joint_positions, perform
from mambatalk.sample.score import event_f1
from mambatalk.sample.style import speaker_styles
from mambatalk.sample.track import LOUD, make_track

pytest.importorskip(
    "espeakng_loader", reason="eSpeak NG speaks the sample: pip install 'mambatalk[sample]'"
)
STYLES = speaker_styles(3)
REST = rest_skeleton()


@pytest.fixture(scope="module")
def shows():
    """Eight clips of 15 to 22 seconds: style, track, performance."""
    made = []
    for k in range(8):
        random = np.random.default_rng([5, k])
        track = make_track(STYLES[k % 3], seconds=15 + k, random=random)
        made.append((STYLES[k % 3], track, perform(track, STYLES[k % 3], REST, random)))
    return made


def _times(performance, *kinds):
    return np.array([event["time"] for event in performance.events if event["kind"] in kinds])


def test_truth_obeys(shows):
    scores = [event_f1(show.motion, show.events) for _, _, show in shows]
    assert min(scores) > 0.85
    assert np.mean(scores) > 0.93


def test_a_still_body_scores_nothing(shows):
    for _, _, show in shows:
        frames = len(show.motion)
        still = replace(
            show.motion,
            poses=np.tile(show.motion.poses.mean(0), (frames, 1)),
            expressions=np.tile(show.motion.expressions.mean(0), (frames, 1)),
        )
        assert event_f1(still, show.events) == 0


def test_the_motion_of_another_clip_scores_low(shows):
    scores = [
        event_f1(a.motion[:450], [e for e in b.events if e["time"] < 15])
        for (_, _, a), (_, _, b) in itertools.permutations(shows, 2)
    ]
    assert np.mean(scores) < 0.3
    assert max(scores) < 0.6


def test_motion_moved_in_time_scores_low(shows):
    for _, _, show in shows:
        late = replace(
            show.motion,
            poses=np.roll(show.motion.poses, 15, axis=0),
            expressions=np.roll(show.motion.expressions, 15, axis=0),
        )
        assert event_f1(late, show.events) < 0.6


def test_moving_all_the_time_does_not_help(shows):
    for _, _, show in shows:
        wave = np.sin(2 * np.pi * 4 * np.arange(len(show.motion)) / 30)[:, None] * 0.3
        shaking = replace(
            show.motion,
            poses=show.motion.poses.mean(0) + np.tile(wave, (1, 165)),
            expressions=show.motion.expressions.mean(0) + np.tile(wave, (1, 100)),
        )
        assert event_f1(shaking, show.events) < 0.5


def test_smaller_and_slightly_noisy_motion_still_obeys(shows):
    for k, (_, _, show) in enumerate(shows):
        mean = show.motion.poses.mean(0)
        noise = np.random.default_rng(k).normal(0, 0.003, show.motion.poses.shape)
        smaller = replace(
            show.motion,
            poses=mean + 0.6 * (show.motion.poses - mean) + noise,
            expressions=0.6 * show.motion.expressions,
        )
        assert event_f1(smaller, show.events) > 0.7


def test_an_empty_list_of_events_and_no_motion_is_nothing():
    still = SmplxMotion(
        poses=np.zeros((60, 165)), expressions=np.zeros((60, 100)), trans=np.zeros((60, 3))
    )
    assert event_f1(still, []) == 0


def test_standing_feet_stand_exactly(shows):
    for _, _, show in shows:
        joints = joint_positions(show.motion, REST)[:, [7, 8, 10, 11]]
        time = np.arange(len(joints)) / 30
        steps = {
            side: _times(
                replace(show, events=[e for e in show.events if e.get("side") == side]), "step"
            )
            for side in ("left", "right")
        }
        for k, side in enumerate(("left", "right", "left", "right")):
            speed = np.linalg.norm(np.diff(joints[:, k], axis=0), axis=-1) * 30
            stands = np.abs(time[:-1, None] - steps[side][None]).min(axis=1, initial=9.0) > 0.32
            assert speed[stands].max() < 1e-3
        assert not any(abs(a - b) < 0.5 for a in steps["left"] for b in steps["right"])


def test_feet_are_level_on_the_floor_and_lift_in_a_step(shows):
    heights = [joint_positions(show.motion, REST)[:, [10, 11], 1] for _, _, show in shows]
    for height in heights:
        assert height.min() == pytest.approx(0.03, abs=1e-3)
    assert max(height.max() for height in heights) > 0.06


def test_contacts_of_a_real_body_agree(tmp_path, shows):
    write_stand_in(tmp_path / "body.npz")
    body = load_body(tmp_path / "body.npz")
    style = STYLES[1]
    rest = body.rest_joints(torch.from_numpy(style.betas))
    random = np.random.default_rng(4)
    show = perform(
        make_track(style, seconds=30, random=random), style, rest.double().numpy(), random
    )
    matrices = torch.from_numpy(
        Rotation.from_rotvec(show.motion.poses.reshape(-1, 3)).as_matrix()
    ).float()
    joints = body.joints(
        matrices.view(-1, 55, 3, 3), rest, torch.from_numpy(show.motion.trans).float()
    )
    np.testing.assert_allclose(
        joints.numpy(), joint_positions(show.motion, rest.double().numpy()), atol=1e-5
    )
    steps = _times(show, "step")
    assert len(steps)
    in_air = np.abs(np.arange(len(joints))[:, None] / 30 - steps).min(axis=1) < 0.32
    contacts = foot_contacts(joints).numpy()
    assert contacts[~in_air].all()
    assert 0 < (contacts == 0).any(axis=1).sum() <= in_air.sum()


def test_silence_is_still_but_for_breathing(shows):
    for _, track, show in shows:
        time = np.arange(track.frames) / 30
        quiet = np.ones(track.frames, bool)
        for start, end in track.sentences:
            quiet &= (time < start - 0.5) | (time > end + 0.8)
        speed = np.abs(np.diff(show.motion.poses, axis=0)).max(axis=1)[quiet[1:] & quiet[:-1]] * 30
        assert len(speed)
        assert speed.max() < 0.03
        assert np.linalg.norm(np.diff(show.motion.poses, axis=0), axis=1)[quiet[1:]].max() > 0


def test_strokes_fall_on_loudness_peaks_of_loud_words(shows):
    for _, track, show in shows:
        strokes = _times(show, "beat", "word_gesture")
        assert len(strokes) / (track.frames / 30) > 0.4
        assert np.diff(strokes).min() > 0.5
        power = track.wave.astype(float) ** 2
        for time in strokes:
            place = round(time * 16_000)
            assert power[place - 240 : place + 240].mean() > 2 * power[: len(power)].mean()


def test_loud_beats_are_bigger(shows):
    sizes = {}
    for style, _, show in shows:
        for event in show.events:
            if event["kind"] == "beat":
                frame = round(event["time"] * 30)
                nod = show.motion.poses[:, 36] + show.motion.poses[:, 45]
                sizes.setdefault((style.name, event["level"] == LOUD), []).append(
                    nod[frame] - np.percentile(nod, 10)
                )
    for style in STYLES:
        assert np.median(sizes[style.name, True]) > 1.2 * np.median(sizes[style.name, False])


def test_speakers_lead_with_their_own_hand():
    style = replace(STYLES[0], hand="left")
    for hand, elbow in (("left", 18), ("right", 19)):
        random = np.random.default_rng(0)
        track = make_track(style, seconds=10, random=random)
        track = replace(track, stresses=[s for s in track.stresses if s.word not in GESTURES])
        poses = perform(track, replace(style, hand=hand), REST, random).motion.poses.reshape(
            -1, 55, 3
        )
        travel = np.abs(np.diff(poses, axis=0)).sum(axis=(0, 2))
        assert travel[elbow] > 1.2 * travel[37 - elbow]


def test_jaw_and_mouth_are_shut_in_silence_and_open_on_open_vowels(shows):
    for _, track, show in shows:
        jaw = show.motion.poses[:, 66]
        assert jaw[:9].max() < 0.02
        assert np.abs(show.motion.expressions[:9]).max() < 0.2
        for time in _times(show, "jaw"):
            assert jaw[round(time * 30)] > 0.4 * jaw.max()
        closed = [p for p in track.phones if p.text in ("M", "P", "B") and p.end - p.start > 0.06]
        middles = [round(30 * (p.start + p.end) / 2) for p in closed]
        assert np.mean(jaw[middles]) < 0.35 * np.mean(
            [jaw[round(t * 30)] for t in _times(show, "jaw")]
        )


def test_motion_is_smooth_and_arms_hang(shows):
    for _, _, show in shows:
        poses = show.motion.poses.reshape(-1, 55, 3)
        body = [k for k in range(55) if k != 22]
        assert np.abs(np.diff(poses[:, body], axis=0)).max() * 30 < 9
        assert np.abs(np.diff(poses[:, body], 2, axis=0)).max() * 900 < 150
        joints = joint_positions(show.motion, REST)
        assert (joints[0, [18, 19], 1] < joints[0, [16, 17], 1] - 0.2).all()
        assert (joints[0, [20, 21], 1] < joints[0, [16, 17], 1] - 0.15).all()
        assert (joints[0, [20, 21], 2] > joints[0, 0, 2]).all()


def test_sound_tells_the_strokes(shows):
    """A stroke can be learnt: the loudness of half a second around a frame predicts the nod of
    clips never seen.
    """

    def table(track, show):
        envelope = np.sqrt(
            np.add.reduceat(track.wave.astype(float) ** 2, np.arange(0, len(track.wave), 533))
        )
        padded = np.pad(envelope, (20, 40 + track.frames))
        rows = np.stack([padded[k : k + 41] for k in range(track.frames)])
        return np.hstack([rows, rows**2]), show.motion.poses[:, 36] + show.motion.poses[:, 45]

    seen = [table(track, show) for _, track, show in shows[:6]]
    x, y = (np.concatenate([part[k] for part in seen]) for k in (0, 1))
    weights = np.linalg.lstsq(np.hstack([x, np.ones((len(x), 1))]), y, rcond=1e-6)[0]
    for _, track, show in shows[6:]:
        x, y = table(track, show)
        guess = np.hstack([x, np.ones((len(x), 1))]) @ weights
        assert np.corrcoef(guess, y)[0, 1] > 0.5
