"""Speech in, motion out: windows, context, position in the room, batches, and rejected input."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from mambatalk.audio.channels import amplitude_envelope
from mambatalk.errors import InputError
from mambatalk.fidelity import CORRECTED, PUBLISHED, FidelityRules
from mambatalk.models.generator.conditioning import full_mask, relative_motion
from mambatalk.models.generator.network import Fused, GeneratorOutput
from mambatalk.motion.clip import SmplxMotion
from mambatalk.motion.parts import LEGS, PART_CONTACT, PART_TRANSLATION
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
from mambatalk.synthesis.bundle import Bundle
from mambatalk.synthesis.decoding import Codes, DecodedMotion, decode, to_smplx
from mambatalk.synthesis.layout import (
    ClipInputs,
    WindowLayout,
    encode_windows,
    whole_clip_channels,
)
from mambatalk.synthesis.rest import arms_down
from mambatalk.synthesis.synthesizer import SynthesisState, Synthesizer
from tests.helpers.speech import initial_motion, noise, speech
from tests.helpers.tiny_bundle import CODES, SPEAKER_IDS, tiny_bundle

BOTH = pytest.mark.parametrize("rules", [PUBLISHED, CORRECTED], ids=["published", "corrected"])
ARRAYS = ("poses", "expressions", "trans")


def layout(rules: FidelityRules = CORRECTED) -> WindowLayout:
    return WindowLayout(window=64, context_frames=4, rules=rules)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return tiny_bundle()


@pytest.fixture(scope="module")
def synthesizer(bundle: Bundle) -> Synthesizer:
    return Synthesizer(bundle)


def assert_same_motion(first: SmplxMotion, second: SmplxMotion) -> None:
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


# Windows.


@given(st.integers(1, 5000))
def test_corrected_windows_cover_every_frame_with_the_fewest_windows(frames: int) -> None:
    count = layout().count(frames)
    assert layout().covered_frames(count) >= frames
    assert count == 1 or layout().covered_frames(count - 1) < frames


@given(st.integers(64, 5000))
def test_published_windows_drop_the_remainder(frames: int) -> None:
    covered = layout(PUBLISHED).covered_frames(layout(PUBLISHED).count(frames))
    assert covered <= frames
    assert frames - covered < 60 + 8


@given(st.integers(0, 2000))
def test_audio_of_a_window_starts_at_its_first_frame_or_drifts_as_published(number: int) -> None:
    first, length = layout().audio_slice(number)
    assert first == 32_000 * number
    assert length == 34_134
    assert layout(PUBLISHED).audio_slice(number) == (31_980 * number, 34_112)
    exact = replace(PUBLISHED, exact_audio_slice=True)
    assert layout(exact).audio_slice(number) == (first, length)


def test_the_envelope_keeps_its_last_full_value_at_the_end_of_a_clip() -> None:
    waveform = noise(1)
    waveform[-1024] = 5.0  # In the last full window, and in no later one.
    channels = whole_clip_channels(torch.from_numpy(waveform), None)
    assert torch.equal(channels[:, 0], amplitude_envelope(torch.tensor(waveform)))
    assert (channels[-1024:, 0] == 5.0).all()


# Clips.


@pytest.mark.parametrize("frames", [1, 3, 4, 5, 63, 64, 65, 124, 125, 200])
def test_motion_has_the_requested_number_of_frames(synthesizer: Synthesizer, frames: int) -> None:
    motion = synthesizer.generate(speech(7, frames=frames))
    assert motion.poses.shape == (frames, 165)
    assert motion.expressions.shape == (frames, EXPRESSION_DIM)
    assert motion.trans.shape == (frames, 3)
    for name in ARRAYS:
        array = getattr(motion, name)
        assert array.dtype == np.float32
        assert np.isfinite(array).all()


@pytest.mark.parametrize("seconds", [0.04, 0.5, 2.2, 4.99])
def test_audio_alone_is_enough_and_is_covered(synthesizer: Synthesizer, seconds: float) -> None:
    waveform = noise(seconds)
    motion = synthesizer.generate(speech(seconds, waveform=waveform))
    assert len(motion) == len(waveform) * 30 // 16_000


def test_motion_longer_than_the_audio_continues_in_silence(synthesizer: Synthesizer) -> None:
    assert len(synthesizer.generate(speech(1, frames=150))) == 150


@pytest.mark.parametrize(
    ("frames", "kept"), [(64, 64), (123, 64), (127, 64), (128, 124), (200, 184)]
)
def test_published_motion_ends_with_the_last_full_window(
    bundle: Bundle, frames: int, kept: int
) -> None:
    published = Synthesizer(bundle, rules=PUBLISHED)
    request = speech(7, frames=frames, initial_motion=initial_motion())
    assert len(published.generate(request)) == kept


def test_missing_words_equal_silence_and_words_change_the_motion(synthesizer: Synthesizer) -> None:
    without = synthesizer.generate(speech(3))
    silent = synthesizer.generate(speech(3, words=np.zeros(90, np.int32)))
    spoken = synthesizer.generate(speech(3, words=np.full(90, 4, np.int32)))
    assert_same_motion(without, silent)
    assert not np.array_equal(without.poses, spoken.poses)


def test_audio_and_speaker_change_the_motion(synthesizer: Synthesizer) -> None:
    hum = np.sin(np.arange(48_000) / 20).astype(np.float32)
    first = synthesizer.generate(speech(3))
    other_audio = synthesizer.generate(speech(3, waveform=hum))
    other_speaker = synthesizer.generate(speech(3, speaker_id=SPEAKER_IDS[1]))
    assert not np.array_equal(first.poses, other_audio.poses)
    assert not np.array_equal(first.poses, other_speaker.poses)


def test_the_same_speech_gives_the_same_motion(synthesizer: Synthesizer) -> None:
    assert_same_motion(synthesizer.generate(speech(5)), synthesizer.generate(speech(5)))


def test_the_eyes_look_straight_ahead(synthesizer: Synthesizer) -> None:
    assert not synthesizer.generate(speech(3)).poses[:, 69:75].any()


def test_clips_generated_together_match_clips_generated_alone(synthesizer: Synthesizer) -> None:
    requests = [
        speech(2.5),
        speech(9, waveform=noise(9, seed=3), speaker_id=SPEAKER_IDS[1]),
        speech(1, frames=40, initial_motion=initial_motion((2.0, 1.2, 1.0))),
    ]
    together = synthesizer.generate_batch(requests)
    for request, motion in zip(requests, together, strict=True):
        alone = synthesizer.generate(request)
        assert len(motion) == request.frame_count
        for name in ARRAYS:
            np.testing.assert_allclose(getattr(motion, name), getattr(alone, name), atol=1e-4)


@pytest.mark.filterwarnings("error")
def test_read_only_arrays_are_accepted(synthesizer: Synthesizer) -> None:
    waveform = noise(1)
    start = initial_motion()
    waveform.flags.writeable = False
    start.flags.writeable = False
    synthesizer.generate(speech(1, waveform=waveform, initial_motion=start))


def test_no_clips_give_no_motion(synthesizer: Synthesizer) -> None:
    assert synthesizer.generate_batch([]) == []


# Context and position.


def test_the_starting_place_moves_the_translation_and_nothing_else(
    synthesizer: Synthesizer,
) -> None:
    here = synthesizer.generate(speech(9, initial_motion=initial_motion((0, 1.3, 0))))
    there = synthesizer.generate(speech(9, initial_motion=initial_motion((8, 1.3, -4))))
    np.testing.assert_array_equal(here.poses, there.poses)
    np.testing.assert_array_equal(here.expressions, there.expressions)
    moved = there.trans - here.trans
    np.testing.assert_allclose(moved, np.broadcast_to([8, 0, -4], moved.shape), atol=1e-5)


def run_windows(
    synthesizer: Synthesizer, start: np.ndarray, frames: int = 200
) -> list[tuple[SynthesisState, GeneratorOutput, Codes, Codes]]:
    """Return state, output, codes and new codes of each window of a clip of random channels."""
    channels = np.random.default_rng(0).normal(0, 1, (140_000, 3)).astype(np.float32)
    clip = ClipInputs(audio=torch.from_numpy(channels), words=torch.zeros(frames, dtype=torch.long))
    layout = synthesizer.layout
    numbers = range(layout.count(frames))
    fused = encode_windows(
        synthesizer.bundle.generator, [(clip, number) for number in numbers], layout
    )
    state = synthesizer.start(torch.from_numpy(start)[None], torch.tensor([0]))
    windows = []
    for number in numbers:
        window = Fused(*(branch[number : number + 1] for branch in fused))
        output = synthesizer.predict(state, window)
        codes = synthesizer.choice.choose(output, state)
        new, after = synthesizer.step(state, window)
        windows.append((state, output, codes, new))
        state = after
    return windows


@BOTH
def test_only_published_networks_see_the_absolute_position(
    bundle: Bundle, rules: FidelityRules
) -> None:
    synthesizer = Synthesizer(bundle, rules=rules)
    here = run_windows(synthesizer, initial_motion((0, 1.3, 0)))
    there = run_windows(synthesizer, initial_motion((8, 1.3, -4)))
    largest = max(
        float((first.latent["upper"] - second.latent["upper"]).abs().max())
        for (_, first, *_), (_, second, *_) in zip(here, there, strict=True)
    )
    assert (largest > 1e-3) == (rules == PUBLISHED)


def test_every_window_continues_from_the_end_of_the_previous_one(
    synthesizer: Synthesizer,
) -> None:
    windows = run_windows(synthesizer, initial_motion())
    upper = synthesizer.bundle.part_networks["upper"]
    for (_, _, codes, _), (state, *_) in zip(windows, windows[1:], strict=False):
        decoded = upper.decode_index(codes["upper"])[0, -4:].unflatten(-1, (-1, 6))
        context = state.context[0][:, pose_channels("upper")].unflatten(-1, (-1, 6))
        expected = nn.functional.normalize(decoded[..., :3], dim=-1)
        torch.testing.assert_close(context[..., :3], expected, atol=1e-5, rtol=0)


def test_later_windows_add_the_frames_past_their_context(synthesizer: Synthesizer) -> None:
    for number, (_, _, codes, new) in enumerate(run_windows(synthesizer, initial_motion())):
        context = 4 if number else 0
        for part in PARTS:
            assert torch.equal(new[part], codes[part][:, context:])


def test_the_position_of_a_corrected_context_continues_from_the_previous_one(
    synthesizer: Synthesizer,
) -> None:
    codes = {part: torch.arange(64)[None] % CODES for part in PARTS}
    motion = torch.from_numpy(initial_motion((3.0, 1.0, 2.0)))
    shifted = motion.clone()
    shifted[:, TRANSLATION.start] += 1
    first, second = (
        synthesizer.advance(synthesizer.start(start[None], torch.tensor([0])), codes).context
        for start in (motion, shifted)
    )
    torch.testing.assert_close(
        (second - first)[..., TRANSLATION], torch.tensor([1.0, 0, 0]).expand(1, 4, 3)
    )
    torch.testing.assert_close(relative_motion(first), relative_motion(second), atol=1e-5, rtol=0)


def test_the_generator_sees_the_context_and_no_other_motion() -> None:
    motion = torch.randn(2, 64, MOTION_DIM)
    mask = full_mask(motion, 4)
    assert not mask[:, :4].any()
    assert mask[:, 4:].all()
    visible = relative_motion(motion)
    plane = [TRANSLATION.start, TRANSLATION.stop - 1]
    assert not visible[:, 0, plane].any()
    others = [channel for channel in range(MOTION_DIM) if channel not in plane]
    assert torch.equal(visible[..., others], motion[..., others])
    assert motion[:, 0, plane].any()


def test_the_face_takes_the_code_nearest_to_its_latent(synthesizer: Synthesizer) -> None:
    codebook = synthesizer.bundle.part_networks["face"].quantizer.table
    chosen = torch.arange(64)[None] % CODES
    latent = dict.fromkeys(PARTS, codebook[chosen] + 0.01)
    logits = {part: torch.nn.functional.one_hot(15 - chosen, CODES) for part in PARTS}
    state = synthesizer.start(torch.from_numpy(initial_motion())[None], torch.tensor([0]))
    codes = synthesizer.choice.choose(GeneratorOutput(latent, logits), state)
    assert torch.equal(codes["face"], chosen)
    assert torch.equal(codes["upper"], 15 - chosen)


# Decoding.


@pytest.mark.parametrize(("rules", "own_share"), [(CORRECTED, 0.5), (PUBLISHED, 0.0)])
def test_the_root_moves_with_the_mean_of_both_velocities_or_the_published_one(
    rules: FidelityRules, own_share: float
) -> None:
    bundle = tiny_bundle()
    codes = {part: torch.arange(20)[None] % CODES for part in PARTS}
    before = decode(bundle, codes, rules).ground
    # The velocity that the lower body's decoder writes, one metre a second faster along x.
    with torch.no_grad():
        bundle.part_networks["lower"].decoder[-1].bias[PART_TRANSLATION.start] += 1.0
    faster = decode(bundle, codes, rules).ground
    expected = torch.tensor([own_share, 0.0, 0.0]).expand_as(before)
    torch.testing.assert_close(faster - before, expected, rtol=0, atol=1e-5)


@BOTH
def test_only_published_synthesis_passes_contacts_to_the_global_net(
    bundle: Bundle, rules: FidelityRules
) -> None:
    inputs: list[Tensor] = []
    hook = bundle.global_net.register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
    codes = {part: torch.arange(30)[None] % CODES for part in PARTS}
    decoded = decode(bundle, codes, rules)
    hook.remove()

    contacts = inputs[0][..., PART_CONTACT]
    assert contacts.any() == (rules == PUBLISHED)
    assert not inputs[0][..., LEGS.stop : PART_CONTACT.start].any()
    (motion,) = to_smplx(decoded, [decoded.pose.shape[1]], torch.tensor([[1.0, 9.0, 2.0]]), rules)
    assert motion.trans[0, [0, 2]].tolist() == [1.0, 2.0]


@BOTH
def test_only_published_motion_loses_small_angles(rules: FidelityRules) -> None:
    angles = torch.tensor([1e-4, -2e-4, 5e-5]).expand(1, 2, 55, 3)
    decoded = DecodedMotion(
        pose=axis_angle_to_6d(angles).flatten(2),
        ground=torch.zeros(1, 2, 3),
        expressions=torch.zeros(1, 2, EXPRESSION_DIM),
    )
    (motion,) = to_smplx(decoded, [decoded.pose.shape[1]], torch.zeros(1, 3), rules)
    error = np.abs(motion.poses - angles.flatten(2)[0].numpy()).max()
    assert (error > 1e-5) == (rules == PUBLISHED)


def test_the_rest_pose_stands_with_lowered_arms() -> None:
    rest = arms_down()
    assert rest.shape == (MOTION_DIM,)
    assert rest[CONTACT].tolist() == [1, 1, 1, 1]
    assert rest[TRANSLATION].tolist() == pytest.approx([0, 1.3, 0])
    rows = rest[:POSE_DIM].view(55, 2, 3)
    torch.testing.assert_close(rows @ rows.transpose(1, 2), torch.eye(2).expand(55, 2, 2))


# Rejected input.


@pytest.mark.parametrize(
    ("fields", "rules", "message"),
    [
        ({"waveform": noise(0)}, CORRECTED, "found 0 samples for 0 frames"),
        ({"waveform": noise(0), "frames": 30}, CORRECTED, "found 0 samples"),
        ({"frames": 0}, CORRECTED, "for 0 frames"),
        ({"frames": 63, "initial_motion": initial_motion()}, PUBLISHED, "for 63 frames"),
        ({}, PUBLISHED, "expected 4 frames of recorded motion"),
        ({"waveform": np.full(16_000, np.nan, np.float32)}, CORRECTED, "not finite"),
        ({"waveform": np.r_[noise(1), -np.inf, noise(1)]}, CORRECTED, "not finite"),
        ({"speaker_id": 0}, CORRECTED, r"expected one of \[2, 30\], found 0"),
        ({"initial_motion": initial_motion()[:3]}, CORRECTED, r"found shape \(3, 337\)"),
    ],
)
def test_unusable_speech_is_reported_in_one_line(
    bundle: Bundle, fields: Mapping[str, Any], rules: FidelityRules, message: str
) -> None:
    with pytest.raises(InputError, match=message) as error:
        Synthesizer(bundle, rules=rules).generate(speech(3, **fields))
    assert "\n" not in str(error.value)
