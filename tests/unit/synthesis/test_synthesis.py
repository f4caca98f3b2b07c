"""Speech in, motion out: coverage, sound slices, seeds, the room, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mambatalk.errors import InputError
from mambatalk.fidelity import PUBLISHED, FidelityRules
from mambatalk.models.generator.conditioning import full_mask, relative_motion
from mambatalk.motion.parts import LEGS, PART_CONTACT
from mambatalk.motion.rotations import axis_angle_to_6d
from mambatalk.motion.skeleton import (
    CONTACT,
    EXPRESSION_DIM,
    MOTION_DIM,
    PARTS,
    POSE_DIM,
    TRANSLATION,
    pose_channels,
)
from mambatalk.synthesis.rest import arms_down
from mambatalk.synthesis.rollout import decode, synthesise
from mambatalk.synthesis.windows import (
    Rolling,
    Speech,
    identity_motion,
    join_codes,
    next_seed,
    run_windows,
)
from tests.helpers.tiny_bundle import CODES, tiny_bundle

BOTH = ("published", "corrected")


def rolling(fidelity="corrected", **changes):
    return Rolling(
        **{
            "window": 64,
            "seed_frames": 4,
            "rules": replace(FidelityRules.of(fidelity), **changes),
        }
    )


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def bundle():
    return tiny_bundle()


def sound(seconds, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, int(16_000 * seconds)).astype(np.float32)


def moving_seed(at=(0.0, 1.3, 0.0), seed=1):
    draw = np.random.default_rng(seed)
    pose = (
        axis_angle_to_6d(torch.from_numpy(draw.normal(0, 0.1, (4, 55, 3)).astype(np.float32)))
        .flatten(1)
        .numpy()
    )
    trans = draw.normal(0, 0.01, (4, 3)) + at
    return np.concatenate([pose, trans, np.ones((4, 4))], 1).astype(np.float32)


@given(st.integers(1, 5000))
def test_corrected_windows_cover_every_frame_and_none_is_idle(frames):
    count = rolling().count(frames)
    assert 4 + 60 * count >= frames
    assert count == 1 or 4 + 60 * (count - 1) < frames


@given(st.integers(64, 5000))
def test_published_windows_drop_the_tail(frames):
    count = rolling("published").count(frames)
    assert 4 + 60 * count <= frames
    assert frames - (4 + 60 * count) < 60 + 8


@given(st.integers(0, 2000))
def test_sound_of_a_window_starts_with_its_first_frame_or_drifts_from_it(window):
    first, length = rolling().audio_slice(window)
    assert first == 32_000 * window
    assert length == 34_134
    assert rolling("published").audio_slice(window) == (31_980 * window, 34_112)
    assert rolling("published", exact_audio_slice=True).audio_slice(window) == (first, length)


@pytest.mark.parametrize("frames", [1, 3, 4, 5, 63, 64, 65, 124, 125, 200])
def test_motion_is_as_long_as_asked_for(bundle, frames):
    result = synthesise(bundle, sound(7), speaker=0, frames=frames)
    assert result.poses.shape == (frames, 165)
    assert result.expressions.shape == (frames, EXPRESSION_DIM)
    assert result.trans.shape == (frames, 3)
    for array in (result.poses, result.expressions, result.trans):
        assert array.dtype == np.float32
        assert np.isfinite(array).all()


@pytest.mark.parametrize("seconds", [0.04, 0.5, 2.2, 4.99])
def test_a_bare_recording_is_enough_and_is_covered(bundle, seconds):
    wave = sound(seconds)
    assert len(synthesise(bundle, wave, speaker=0).poses) == len(wave) * 30 // 16_000


@pytest.mark.parametrize(
    ("frames", "kept"), [(64, 64), (123, 64), (127, 64), (128, 124), (200, 184)]
)
def test_published_motion_ends_with_the_last_full_window(bundle, frames, kept):
    result = synthesise(
        bundle, sound(7), speaker=0, frames=frames, seed=moving_seed(), rules=PUBLISHED
    )
    assert len(result.poses) == kept


def test_no_words_are_silence_and_words_matter(bundle):
    silent = synthesise(bundle, sound(3), speaker=0)
    padded = synthesise(bundle, sound(3), speaker=0, words=np.zeros(90, np.int32))
    spoken = synthesise(bundle, sound(3), speaker=0, words=np.full(90, 4, np.int32))
    np.testing.assert_array_equal(silent.poses, padded.poses)
    assert not np.array_equal(silent.poses, spoken.poses)


def test_sound_and_speaker_matter(bundle):
    hum = np.sin(np.arange(48_000) / 20).astype(np.float32)
    first, other, by_another = (
        synthesise(bundle, wave, speaker=speaker)
        for wave, speaker in ((sound(3), 0), (hum, 0), (sound(3), 1))
    )
    assert not np.array_equal(first.poses, other.poses)
    assert not np.array_equal(first.poses, by_another.poses)


def test_the_same_request_gives_the_same_motion(bundle):
    first, second = (synthesise(bundle, sound(5), speaker=1) for _ in range(2))
    for name in ("poses", "expressions", "trans"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


def test_the_eyes_look_straight_ahead(bundle):
    assert not synthesise(bundle, sound(3), speaker=0).poses[:, 69:75].any()


def test_where_in_the_room_changes_nothing_but_the_place(bundle):
    here, there = (
        synthesise(bundle, sound(9), speaker=0, seed=moving_seed(at))
        for at in ((0, 1.3, 0), (8, 1.3, -4))
    )
    np.testing.assert_array_equal(here.poses, there.poses)
    np.testing.assert_array_equal(here.expressions, there.expressions)
    moved = there.trans - here.trans
    np.testing.assert_allclose(moved, np.broadcast_to([8, 0, -4], moved.shape), atol=1e-5)


def outputs(bundle, at, fidelity):
    seed = torch.from_numpy(moving_seed(at))
    audio = torch.from_numpy(np.random.default_rng(0).normal(0, 1, (140_000, 3)).astype(np.float32))
    speech = Speech(audio=audio, words=torch.zeros(200, dtype=torch.long), speaker=0, frames=200)
    return run_windows(bundle.generator, bundle.part_networks, speech, seed, rolling(fidelity))


@pytest.mark.parametrize("fidelity", BOTH)
def test_only_published_networks_see_where_in_the_room(bundle, fidelity):
    here, there = (outputs(bundle, at, fidelity) for at in ((0, 1.3, 0), (8, 1.3, -4)))
    differ = max(
        float((a.output.latent["upper"] - b.output.latent["upper"]).abs().max())
        for a, b in zip(here, there, strict=True)
    )
    assert (differ > 1e-3) == (fidelity == "published")


def test_every_window_is_seeded_by_the_end_of_the_one_before(bundle):
    windows = outputs(bundle, (0, 1.3, 0), "corrected")
    for before, after in zip(windows, windows[1:], strict=False):
        decoded = bundle.part_networks["upper"].decode_index(before.codes["upper"][None])[0, -4:]
        turned = after.seed[:, pose_channels("upper")].unflatten(-1, (-1, 6))
        torch.testing.assert_close(
            turned[..., :3],
            torch.nn.functional.normalize(decoded.unflatten(-1, (-1, 6))[..., :3], dim=-1),
            atol=1e-5,
            rtol=0,
        )
    joined = join_codes(windows, rolling())
    assert len(joined["face"]) == 4 + 60 * len(windows)
    assert torch.equal(joined["face"][:64], windows[0].codes["face"])
    assert torch.equal(joined["face"][64:124], windows[1].codes["face"][4:])


def test_a_corrected_seed_goes_on_from_the_seed_before(bundle):
    codes = {part: torch.arange(64) % CODES for part in PARTS}
    seed = torch.from_numpy(moving_seed((3.0, 1.0, 2.0)))
    start = identity_motion(1, seed)[0]
    shifted = seed.clone()
    shifted[:, TRANSLATION.start] += 1
    first, second = (
        next_seed(codes, bundle.part_networks, one, start, rolling()) for one in (seed, shifted)
    )
    torch.testing.assert_close(
        (second - first)[:, TRANSLATION], torch.tensor([1.0, 0, 0]).expand(4, 3)
    )
    torch.testing.assert_close(
        relative_motion(first[None]), relative_motion(second[None]), atol=1e-5, rtol=0
    )


def test_the_generator_is_shown_the_seed_and_nothing_else():
    motion = torch.randn(2, 64, MOTION_DIM)
    mask = full_mask(motion, 4)
    assert not mask[:, :4].any()
    assert mask[:, 4:].all()
    shown = relative_motion(motion)
    plane = [TRANSLATION.start, TRANSLATION.stop - 1]
    assert not shown[:, 0, plane].any()
    rest = [k for k in range(MOTION_DIM) if k not in plane]
    assert torch.equal(shown[..., rest], motion[..., rest])
    assert motion[:, 0, plane].any()


@pytest.mark.parametrize("fidelity", BOTH)
def test_only_published_gives_contacts_to_the_global_net(bundle, fidelity):
    given_to_it = []
    hook = bundle.global_net.register_forward_pre_hook(
        lambda _, inputs: given_to_it.append(inputs[0])
    )
    codes = {part: torch.arange(30) % CODES for part in PARTS}
    decoded = decode(
        codes,
        bundle.part_networks,
        bundle.global_net,
        torch.tensor([1.0, 9.0, 2.0]),
        FidelityRules.of(fidelity),
    )
    hook.remove()
    contacts = given_to_it[0][..., PART_CONTACT]
    assert contacts.any() == (fidelity == "published")
    assert not given_to_it[0][..., LEGS.stop : PART_CONTACT.start].any()
    assert decoded.trans[0, [0, 2]].tolist() == [1.0, 2.0]


def test_the_rest_pose_stands_with_arms_hanging():
    rest = arms_down()
    assert rest.shape == (MOTION_DIM,)
    assert rest[CONTACT].tolist() == [1, 1, 1, 1]
    assert rest[TRANSLATION].tolist() == pytest.approx([0, 1.3, 0])
    rows = rest[:POSE_DIM].view(55, 2, 3)
    torch.testing.assert_close(rows @ rows.transpose(1, 2), torch.eye(2).expand(55, 2, 2))


def test_sound_shorter_than_the_motion_goes_on_in_silence(bundle):
    assert len(synthesise(bundle, sound(1), speaker=0, frames=150).poses) == 150


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"wave": sound(0)}, "0 frames"),
        ({"wave": sound(0), "frames": 30}, "0 samples"),
        ({"frames": 0}, "0 frames"),
        ({"frames": 63, "seed": moving_seed(), "rules": PUBLISHED}, "63 frames"),
        ({"rules": PUBLISHED}, "no motion to start from"),
        ({"wave": np.full(16_000, np.nan, np.float32)}, "not finite"),
        ({"speaker": 2}, "index 2; expected 0 to 1"),
        ({"speaker": -1}, "index -1"),
        ({"seed": moving_seed()[:3]}, "seed: found shape"),
    ],
)
def test_what_cannot_be_spoken_is_one_line(bundle, request_, message):
    with pytest.raises(InputError, match=message) as error:
        synthesise(bundle, **{"wave": sound(3), "speaker": 0, **request_})
    assert "\n" not in str(error.value)
