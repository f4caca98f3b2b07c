"""One test for each difference between published and corrected fidelity (docs/fidelity.md)."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from mambatalk.corpus.labels import emotion_label
from mambatalk.errors import InputError
from mambatalk.features.windows import WindowBatch
from mambatalk.fidelity import CORRECTED, PUBLISHED, FidelityRules
from mambatalk.models.generator.conditioning import full_mask
from mambatalk.models.generator.network import Fused, Generator, GeneratorConfig
from mambatalk.motion.body import Body
from mambatalk.motion.clip import SmplxMotion
from mambatalk.motion.parts import PART_TRANSLATION, part_input
from mambatalk.motion.rotations import axis_angle_to_6d, axis_angle_to_matrix, matrix_to_axis_angle
from mambatalk.motion.skeleton import MOTION_DIM, PARTS, TRANSLATION, AutoEncoderName, pose_channels
from mambatalk.synthesis.bundle import Bundle
from mambatalk.synthesis.chain import CHAINED_PARTS, CodeChain
from mambatalk.synthesis.decoding import root_path
from mambatalk.synthesis.layout import WindowLayout
from mambatalk.synthesis.state import SynthesisState
from mambatalk.synthesis.synthesizer import Synthesizer
from mambatalk.text.vocabulary import PAD
from mambatalk.training.losses import l1_of_differences
from mambatalk.training.modules.generator_step import step_terms
from mambatalk.training.modules.part_losses import PartLoss
from tests.helpers.speech import initial_motion, speech
from tests.helpers.stand_in_body import stand_in_body
from tests.helpers.tiny_bundle import CODES, tiny_bundle
from tests.helpers.tiny_training import COMMON, GENERATOR

STEP = replace(GENERATOR, dropout=0.0, text_dropout=1.0)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return tiny_bundle()


@pytest.fixture(scope="module")
def body() -> Body:
    return stand_in_body()


@pytest.fixture
def batch() -> WindowBatch:
    random = torch.Generator().manual_seed(0)
    rotations = axis_angle_to_6d(0.2 * torch.randn(2, 64, 55, 3, generator=random)).flatten(2)
    trans = torch.randn(2, 64, 3, generator=random).cumsum(1) / 100
    contacts = torch.ones(2, 64, 4)
    return WindowBatch(
        motion=torch.cat([rotations, trans, contacts], -1),
        expressions=torch.randn(2, 64, 100, generator=random),
        betas=torch.zeros(2, 300),
        words=torch.randint(4, 9, (2, 64), generator=random),
        speaker_index=torch.zeros(2, 64, dtype=torch.long),
        frames=torch.tensor([0, 64]),
        audio=torch.randn(2, 34133, 3, generator=random),
    )


# Synthesis.


def test_audio_slice_drifts_37_ms_a_minute() -> None:
    after_a_minute = {
        rules: WindowLayout(window=64, context_frames=4, rules=rules).audio_slice(30)[0]
        for rules in (PUBLISHED, CORRECTED)
    }
    assert after_a_minute[CORRECTED] == 60 * 16_000
    drift_in_ms = (after_a_minute[CORRECTED] - after_a_minute[PUBLISHED]) / 16
    assert drift_in_ms == pytest.approx(37.5)


def test_later_contexts_have_identity_jaw_and_restarted_translation(bundle: Bundle) -> None:
    codes = {part: torch.arange(64)[None] % CODES for part in PARTS}
    place = torch.tensor([5.0, 1.0, -3.0])

    def later_context(rules: FidelityRules, translation: Tensor) -> Tensor:
        context = torch.zeros(1, 4, MOTION_DIM)
        context[..., TRANSLATION] = translation
        state = SynthesisState(
            context=context,
            first_frame=torch.zeros(1, MOTION_DIM),
            speaker_index=torch.tensor([0]),
            windows=1,
        )
        return Synthesizer(bundle, rules=rules).advance(state, codes).context[0]

    published, corrected = (later_context(rules, place) for rules in (PUBLISHED, CORRECTED))
    jaw = pose_channels("face")
    identity = torch.tensor([1.0, 0, 0, 0, 1, 0]).expand(4, 6)
    assert torch.equal(published[:, jaw], identity)
    assert not torch.allclose(corrected[:, jaw], identity, atol=1e-3)

    moved = published - later_context(PUBLISHED, torch.zeros(3))
    assert not moved.any()
    moved = corrected - later_context(CORRECTED, torch.zeros(3))
    expected = torch.tensor([5.0, 0.0, -3.0]).expand(4, 3)
    torch.testing.assert_close(moved[:, TRANSLATION], expected)


def test_codes_are_drawn_as_sequences_in_corrected_synthesis_alone(bundle: Bundle) -> None:
    steady = CodeChain.of_clips([np.repeat(np.arange(CODES), 20)], CODES)
    bundle = replace(bundle, chains=dict.fromkeys(CHAINED_PARTS, steady))
    start = initial_motion()
    published, corrected = (
        Synthesizer(bundle, rules=rules).generate_codes([speech(8, initial_motion=start)])[0]
        for rules in (PUBLISHED, CORRECTED)
    )
    changes = [int((codes["lower"].diff() != 0).sum()) for codes in (published, corrected)]
    assert changes[1] < changes[0] / 2


def test_the_root_stays_within_reach_in_corrected_synthesis_alone(bundle: Bundle) -> None:
    velocity = torch.tensor([1.0, 0.9, 0.0]).expand(1, 300, 3)
    start = torch.zeros(1, 3)
    published, corrected = (
        root_path(
            velocity, start, Synthesizer(replace(bundle, reach=0.5), rules=rules).bounds(start)
        )
        for rules in (PUBLISHED, CORRECTED)
    )
    assert published[0, -1, 0] > 9
    assert corrected[..., 0].max() <= 0.5


def test_planted_feet_stand_still_in_corrected_synthesis_alone(bundle: Bundle, body: Body) -> None:
    bundle = replace(bundle, rest_joints=body.rest_joints(torch.zeros(300)))
    sliding = np.zeros((90, 3))
    sliding[:, 0] = np.linspace(0, 0.1, 90)
    motion = SmplxMotion(poses=np.zeros((90, 165)), expressions=np.zeros((90, 100)), trans=sliding)
    published, corrected = (
        Synthesizer(bundle, rules=rules).lock_feet(motion) for rules in (PUBLISHED, CORRECTED)
    )
    assert published is motion
    # The pose does not change, so that feet move as the root does.
    np.testing.assert_allclose(corrected.trans, 0, atol=0.01)


def test_a_first_window_needs_no_ground_truth(bundle: Bundle) -> None:
    assert len(Synthesizer(bundle, rules=CORRECTED).generate(speech(3))) == 90
    with pytest.raises(InputError, match="recorded motion, found none"):
        Synthesizer(bundle, rules=PUBLISHED).generate(speech(3))


@pytest.mark.parametrize(("rules", "frames"), [(PUBLISHED, 124), (CORRECTED, 150)])
def test_frames_past_the_last_full_window_are_generated(
    bundle: Bundle, rules: FidelityRules, frames: int
) -> None:
    request = speech(5, initial_motion=initial_motion())
    assert len(Synthesizer(bundle, rules=rules).generate(request)) == frames


@pytest.mark.parametrize(("fidelity", "frames"), [("published", 124), ("corrected", 150)])
def test_a_bundle_is_synthesised_as_it_was_trained_by_default(
    bundle: Bundle, fidelity: Literal["published", "corrected"], frames: int
) -> None:
    request = speech(5, initial_motion=initial_motion())
    synthesizer = Synthesizer(replace(bundle, fidelity=fidelity))
    assert len(synthesizer.generate(request)) == frames


def test_matrix_to_axis_angle_keeps_small_angles() -> None:
    small = torch.tensor([[1e-4, -2e-4, 5e-5]])
    matrix = axis_angle_to_matrix(small)
    roma = matrix_to_axis_angle(matrix, formula="roma")
    published = matrix_to_axis_angle(matrix, formula="published")
    assert (roma - small).abs().max() < 1e-6
    assert (published - small).abs().max() > 1e-5


# Auto-encoders.


def part_loss(part: AutoEncoderName, body: Body, rules: FidelityRules) -> PartLoss:
    return PartLoss.build(part, body, config=COMMON, mesh_vertices=20, mesh_frames=0, rules=rules)


def test_mesh_velocity_runs_along_time(body: Body) -> None:
    still = torch.zeros(1, 64, 20, 3)
    shaking = still + torch.tensor([0.1, -0.1]).repeat(32)[None, :, None, None]
    published, corrected = (
        l1_of_differences(shaking, still, axis=part_loss("upper", body, rules).mesh_axis)
        for rules in (PUBLISHED, CORRECTED)
    )
    assert published == 0
    assert corrected > 0.1


def test_face_meshes_keep_their_own_expressions(body: Body, batch: WindowBatch) -> None:
    jaw = axis_angle_to_6d(torch.full((2, 64, 3), 0.1))
    wrong = torch.randn(2, 64, 100, generator=torch.Generator().manual_seed(1))
    prediction = torch.cat([jaw, wrong], -1)
    published = part_loss("face", body, PUBLISHED)(prediction, batch)
    corrected = part_loss("face", body, CORRECTED)(prediction, batch)

    # The published loss is the corrected one of swapped expressions.
    swapped_prediction = torch.cat([jaw, batch.expressions], -1)
    swapped_batch = batch._replace(expressions=wrong)
    swapped = part_loss("face", body, CORRECTED)(swapped_prediction, swapped_batch)
    torch.testing.assert_close(published["vertices"], swapped["vertices"])
    assert not torch.allclose(published["vertices"], corrected["vertices"])


@pytest.mark.parametrize("rules", [PUBLISHED, CORRECTED], ids=["published", "corrected"])
def test_lower_body_codes_do_not_depend_on_the_room_and_translation_is_supervised(
    body: Body, batch: WindowBatch, rules: FidelityRules
) -> None:
    elsewhere = batch.motion.clone()
    elsewhere[..., TRANSLATION] += torch.tensor([4.0, 0.0, -2.0])
    here = part_input("lower", batch.motion, batch.expressions, rules=rules)
    there = part_input("lower", elsewhere, batch.expressions, rules=rules)
    moved = float((there - here).abs().max())
    if rules == PUBLISHED:
        assert moved == pytest.approx(4)
    else:
        assert moved < 1e-3

    prediction = (here + 0.1).requires_grad_()
    terms = part_loss("lower", body, rules)(prediction, batch)
    (gradient,) = torch.autograd.grad(torch.stack([*terms.values()]).sum(), prediction)
    supervised = bool(gradient[..., PART_TRANSLATION].any())
    assert supervised == (rules == CORRECTED)


# The generator.


def tiny_generator(**fields: Any) -> Generator:
    torch.manual_seed(0)
    config = GeneratorConfig(
        vocabulary_size=9,
        speakers=2,
        hidden=32,
        audio_dim=16,
        audio_width=4,
        word_dim=8,
        motion_dim=12,
        code_dim=12,
        codebook_size=16,
        **fields,
    )
    return Generator(config)


def loss_terms(network: Generator, batch: WindowBatch, rules: FidelityRules) -> dict[str, Tensor]:
    """Return the terms of a step on random codes, with the same random masks every time."""
    torch.manual_seed(1)
    codes = {part: torch.randint(16, (2, 64)) for part in PARTS}
    codebooks = {part: torch.randn(16, 12) for part in PARTS}
    # Corrected counts x and z from the first frame, so let them begin at 0 in both.
    motion = batch.motion.clone()
    motion[..., TRANSLATION] -= motion[:, :1, TRANSLATION]
    return step_terms(
        network,
        batch._replace(motion=motion),
        codes,
        codebooks,
        STEP,
        mask_probability=0.5,
        rules=rules,
    )


def count_passes(network: Generator, batch: WindowBatch, rules: FidelityRules) -> int:
    """Return how often a step runs the batch through the network."""
    passes: list[int] = []
    # Passes are stacked in one larger batch.
    hook = network.local_scan.register_forward_hook(
        lambda _, inputs, __: passes.append(len(inputs[0]) // len(batch.motion))
    )
    loss_terms(network, batch, rules)
    hook.remove()
    return sum(passes)


@pytest.mark.parametrize("aligned", [False, True], ids=["published", "corrected"])
def test_published_body_does_not_depend_on_the_order_of_audio_frames(
    batch: WindowBatch, aligned: bool
) -> None:
    network = tiny_generator(aligned=aligned).eval()
    assert batch.audio is not None
    fused = network.fuse(batch.audio, batch.audio[..., :2], batch.words)
    other_order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    shuffled = fused._replace(body=fused.body[:, other_order])

    def upper_logits(audio: Fused) -> Tensor:
        mask = full_mask(batch.motion, 4)
        output = network.forward_fused(audio, batch.speaker_index, batch.motion, mask)
        return output.logits["upper"]

    with torch.no_grad():
        expected = upper_logits(fused)
        distance = (upper_logits(shuffled) - expected).abs().max() / expected.abs().max()
    if aligned:
        assert distance > 1e-3
    else:
        assert distance < 1e-5


def test_one_masked_pass_of_weight_two_is_two_passes_but_for_dropout(batch: WindowBatch) -> None:
    network = tiny_generator().eval()
    assert count_passes(network, batch, PUBLISHED) == 3
    assert count_passes(network, batch, CORRECTED) == 2
    published = loss_terms(network, batch, PUBLISHED)
    corrected = loss_terms(network, batch, CORRECTED)
    for name, value in published.items():
        torch.testing.assert_close(corrected[name], value)

    with_dropout = loss_terms(tiny_generator(dropout=0.5).train(), batch, PUBLISHED)
    assert not torch.allclose(with_dropout["latent_random"], published["latent_random"])


def test_text_is_dropped_in_corrected_training_alone(
    batch: WindowBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = tiny_generator().train()
    fuse: Callable[..., Fused] = network.fuse
    words: list[Tensor] = []

    def record_words(face: Tensor, body: Tensor, ids: Tensor, arrived: Tensor | None) -> Fused:
        words.append(ids)
        return fuse(face, body, ids, arrived)

    monkeypatch.setattr(network, "fuse", record_words)
    for rules in (PUBLISHED, CORRECTED):
        loss_terms(network, batch, rules)
    published, corrected = words
    assert torch.equal(published, batch.words)
    assert (corrected == PAD).all()


# Features.


def test_emotion_comes_from_the_recording_number() -> None:
    # Speech 73 of a speaker is acted in anger. The published loader reads recording type and
    # number from the same field.
    assert emotion_label(0, 73, rules=CORRECTED) == 2
    assert emotion_label(0, 73, rules=PUBLISHED) == 0
