"""One test for each matter in which published and corrected fidelity differ; docs/fidelity.md lists
them.
"""

import dataclasses
from dataclasses import replace

import numpy as np
import pytest
import torch

from mambatalk.corpus.labels import emotion_label
from mambatalk.errors import InputError
from mambatalk.features.windows import WindowBatch
from mambatalk.fidelity import CORRECTED, PUBLISHED, FidelityRules
from mambatalk.models.generator.conditioning import full_mask
from mambatalk.models.generator.network import Generator, GeneratorConfig
from mambatalk.models.vq.vqvae import VQVAE, AutoEncoder
from mambatalk.motion.body import load_body
from mambatalk.motion.parts import PART_TRANSLATION, part_input
from mambatalk.motion.rotations import axis_angle_to_6d, axis_angle_to_matrix, matrix_to_axis_angle
from mambatalk.motion.skeleton import MOTION_DIM, PART_DIMS, PARTS, TRANSLATION, pose_channels
from mambatalk.motion.stand_in.model import write_stand_in
from mambatalk.synthesis.bundle import Bundle
from mambatalk.synthesis.layout import Speech, WindowLayout
from mambatalk.synthesis.rest import arms_down
from mambatalk.synthesis.synthesizer import SynthesisState, Synthesizer
from mambatalk.text.vocabulary import PAD
from mambatalk.training.losses import l1_of_differences
from mambatalk.training.modules.generator import step_terms
from mambatalk.training.modules.part_losses import PartLoss
from tests.helpers.tiny_training import COMMON, GENERATOR

BOTH = ("published", "corrected")
STEP = replace(GENERATOR, dropout=0.0, text_dropout=1.0)


def layout(fidelity):
    return WindowLayout(window=64, context_frames=4, rules=FidelityRules.of(fidelity))


def generate(bundle, seconds, rules=None, **fields):
    speech = Speech(waveform=sound(seconds), speaker_id=1, **fields)
    return Synthesizer(bundle, rules=rules).generate(speech)


@pytest.fixture(scope="module")
def bundle():
    torch.manual_seed(0)
    generator = Generator(
        GeneratorConfig(
            vocabulary_size=9,
            speakers=2,
            hidden=32,
            audio_dim=16,
            audio_width=4,
            word_dim=8,
            motion_dim=16,
            code_dim=12,
            codebook_size=16,
        )
    )
    networks = {part: VQVAE(PART_DIMS[part], 12, 2, 16) for part in PARTS}
    networks["global"] = AutoEncoder(PART_DIMS["global"], 12, 2)
    for network in (generator, *networks.values()):
        network.eval().requires_grad_(False)
    return Bundle(
        generator=generator,
        auto_encoders=networks,
        vocabulary={"yes": 4},
        speakers={1: 0, 2: 1},
        fidelity="corrected",
        context_frames=4,
        window=64,
        rest=arms_down(),
        config={},
    )


@pytest.fixture(scope="module")
def body(tmp_path_factory):
    path = tmp_path_factory.mktemp("body") / "body.npz"
    write_stand_in(path)
    return load_body(path)


@pytest.fixture
def batch():
    draw = torch.Generator().manual_seed(0)
    rotations = axis_angle_to_6d(0.2 * torch.randn(2, 64, 55, 3, generator=draw)).flatten(2)
    trans = torch.randn(2, 64, 3, generator=draw).cumsum(1) / 100
    return WindowBatch(
        motion=torch.cat([rotations, trans, torch.ones(2, 64, 4)], -1),
        expressions=torch.randn(2, 64, 100, generator=draw),
        betas=torch.zeros(2, 300),
        words=torch.randint(4, 9, (2, 64), generator=draw),
        speaker_index=torch.zeros(2, 64, dtype=torch.long),
        frames=torch.tensor([0, 64]),
        audio=torch.randn(2, 34133, 3, generator=draw),
    )


def sound(seconds):
    return np.random.default_rng(0).normal(0, 0.1, int(16_000 * seconds)).astype(np.float32)


def test_audio_slice_drifts_37_ms_a_minute():
    after_a_minute = {fidelity: layout(fidelity).audio_slice(30)[0] for fidelity in BOTH}
    assert after_a_minute["corrected"] == 60 * 16_000
    assert (after_a_minute["corrected"] - after_a_minute["published"]) / 16 == pytest.approx(37.5)


def test_later_contexts_have_identity_jaw_and_restarted_translation(bundle):
    codes = {part: torch.arange(64)[None] % 16 for part in PARTS}
    first_frame = torch.zeros(1, MOTION_DIM)
    context = first_frame[:, None].repeat(1, 4, 1)
    context[..., TRANSLATION] = torch.tensor([5.0, 1.0, -3.0])
    contexts = {}
    for fidelity in BOTH:
        synthesizer = Synthesizer(bundle, rules=FidelityRules.of(fidelity))
        state = SynthesisState(
            context=context,
            first_frame=first_frame,
            speaker_index=torch.tensor([0]),
            windows=1,
        )
        contexts[fidelity] = synthesizer.advance(state, codes).context[0]
    jaw = pose_channels("face")
    identity = torch.tensor([1.0, 0, 0, 0, 1, 0])
    assert torch.equal(contexts["published"][:, jaw], identity.expand(4, 6))
    assert not torch.allclose(contexts["corrected"][:, jaw], identity.expand(4, 6), atol=1e-3)
    apart = (contexts["corrected"] - contexts["published"])[:, TRANSLATION]
    torch.testing.assert_close(apart, torch.tensor([5.0, 0.0, -3.0]).expand(4, 3))


def test_a_first_window_needs_no_ground_truth(bundle):
    assert len(generate(bundle, 3, CORRECTED)) == 90
    with pytest.raises(InputError, match="recorded motion, found none"):
        generate(bundle, 3, PUBLISHED)


def test_frames_past_the_last_full_window_are_generated(bundle):
    start = bundle.rest.expand(4, -1).numpy()
    frames = {
        fidelity: len(generate(bundle, 5, FidelityRules.of(fidelity), initial_motion=start))
        for fidelity in BOTH
    }
    assert frames == {"published": 124, "corrected": 150}


def test_matrix_to_axis_angle_keeps_small_angles():
    small = torch.tensor([[1e-4, -2e-4, 5e-5]])
    error = {
        formula: (matrix_to_axis_angle(axis_angle_to_matrix(small), formula=formula) - small)
        .abs()
        .max()
        for formula in ("roma", "published")
    }
    assert error["roma"] < 1e-6
    assert error["published"] > 1e-5


def part_loss(part, body, fidelity):
    return PartLoss.build(
        part,
        body,
        config=COMMON,
        mesh_vertices=20,
        mesh_frames=0,
        rules=FidelityRules.of(fidelity),
    )


def test_mesh_velocity_runs_along_time(body):
    loss = {fidelity: part_loss("upper", body, fidelity) for fidelity in BOTH}
    still = torch.zeros(1, 64, 20, 3)
    shaking = still + torch.tensor([0.1, -0.1]).repeat(32)[None, :, None, None]
    value = {
        fidelity: l1_of_differences(shaking, still, axis=loss[fidelity].mesh_axis)
        for fidelity in BOTH
    }
    assert value["published"] == 0
    assert value["corrected"] > 0.1


def test_face_meshes_keep_their_own_expressions(body, batch):
    losses = {fidelity: part_loss("face", body, fidelity) for fidelity in BOTH}
    jaw = axis_angle_to_6d(torch.full((2, 64, 3), 0.1))
    wrong = torch.randn(2, 64, 100, generator=torch.Generator().manual_seed(1))
    exchanged = batch._replace(expressions=wrong)
    published = losses["published"](torch.cat([jaw, wrong], -1), batch)
    corrected = losses["corrected"](torch.cat([jaw, wrong], -1), batch)
    swapped = losses["corrected"](torch.cat([jaw, batch.expressions], -1), exchanged)
    torch.testing.assert_close(published["vertices"], swapped["vertices"])
    assert not torch.allclose(published["vertices"], corrected["vertices"])


def test_lower_body_codes_do_not_depend_on_the_room_and_translation_is_supervised(body, batch):
    elsewhere = batch.motion.clone()
    elsewhere[..., TRANSLATION] += torch.tensor([4.0, 0.0, -2.0])
    moved = {
        fidelity: float(
            (
                part_input("lower", elsewhere, batch.expressions, rules=FidelityRules.of(fidelity))
                - part_input(
                    "lower", batch.motion, batch.expressions, rules=FidelityRules.of(fidelity)
                )
            )
            .abs()
            .max()
        )
        for fidelity in BOTH
    }
    assert moved["published"] == pytest.approx(4)
    assert moved["corrected"] < 1e-3
    for fidelity in BOTH:
        prediction = part_input(
            "lower", batch.motion, batch.expressions, rules=FidelityRules.of(fidelity)
        ).requires_grad_()
        loss = part_loss("lower", body, fidelity)
        shifted = prediction + 0.1
        (gradient,) = torch.autograd.grad(sum(loss(shifted, batch).values()), shifted)
        assert bool(gradient[..., PART_TRANSLATION].abs().sum() > 0) == (fidelity == "corrected")


def step(batch, fidelity, *, dropout=0.0, training=False):
    torch.manual_seed(0)
    network = Generator(
        GeneratorConfig(
            vocabulary_size=9,
            speakers=2,
            hidden=32,
            audio_dim=16,
            audio_width=4,
            word_dim=8,
            motion_dim=12,
            code_dim=12,
            codebook_size=16,
            dropout=dropout,
        )
    ).train(training)
    passes = []
    # Passes lie side by side in one batch.
    network.local_scan.register_forward_hook(
        lambda _, inputs, __: passes.append(len(inputs[0]) // len(batch.motion))
    )
    books = {part: torch.randn(16, 12, requires_grad=True) for part in PARTS}
    codes = {part: torch.randint(16, (2, 64)) for part in PARTS}
    # The same motion either way: corrected counts x and z from the first frame, where this one
    # starts at 0.
    motion = batch.motion.clone()
    motion[..., TRANSLATION] -= motion[:, :1, TRANSLATION]
    torch.manual_seed(1)
    terms = step_terms(
        network,
        batch._replace(motion=motion),
        codes,
        books,
        STEP,
        mask_probability=0.5,
        rules=FidelityRules.of(fidelity),
    )
    return network, terms, sum(passes)


def test_the_published_body_cannot_tell_when_a_sound_comes(batch):
    """Its attention sees the sound's frames as a set: in another order they give the same body."""
    other_order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    mask = full_mask(batch.motion, 4)
    for aligned in (False, True):
        torch.manual_seed(0)
        network = Generator(
            GeneratorConfig(
                vocabulary_size=9,
                speakers=2,
                hidden=32,
                audio_dim=16,
                audio_width=4,
                word_dim=8,
                motion_dim=12,
                code_dim=12,
                codebook_size=16,
                aligned=aligned,
            )
        ).eval()
        fused = network.fuse(batch.audio, batch.audio[..., :2], batch.words)
        shuffled = fused._replace(body=fused.body[:, other_order])
        heard, elsewhere = (
            network.forward_fused(sound, batch.speaker_index, batch.motion, mask).logits["upper"]
            for sound in (fused, shuffled)
        )
        distance = (heard - elsewhere).abs().max().item() / heard.abs().max().item()
        assert distance > 1e-3 if aligned else distance < 1e-5


def test_one_masked_pass_of_weight_two_is_two_passes_but_for_dropout(batch):
    (_, published, three), (_, corrected, two) = (step(batch, fidelity) for fidelity in BOTH)
    assert (three, two) == (3, 2)
    for name, value in published.items():
        torch.testing.assert_close(corrected[name], value)
    _, noisy, _ = step(batch, "published", dropout=0.5, training=True)
    assert not torch.allclose(noisy["latent_random"], published["latent_random"])


def test_text_is_dropped_in_corrected_training_alone(batch):
    heard = {}
    for fidelity in BOTH:
        network, *_ = step(batch, fidelity)
        network.train()
        fuse = network.fuse
        network.fuse = lambda face, body, words, fuse=fuse, key=fidelity: (
            heard.update({key: words}) or fuse(face, body, words)
        )
        step_terms(
            network,
            batch,
            {part: torch.zeros(2, 64, dtype=torch.long) for part in PARTS},
            {part: torch.zeros(16, 12) for part in PARTS},
            STEP,
            mask_probability=0.5,
            rules=FidelityRules.of(fidelity),
        )
    assert torch.equal(heard["published"], batch.words)
    assert (heard["corrected"] == PAD).all()


def test_emotion_comes_from_the_clip_number():
    # Speech 73 of a speaker is acted in anger; the published rule reads recording type and number
    # from one field.
    assert emotion_label(0, 73, rules=CORRECTED) == 2
    assert emotion_label(0, 73, rules=PUBLISHED) == 0


def test_a_bundle_is_synthesised_as_it_was_trained_by_default(bundle):
    start = bundle.rest.expand(4, -1).numpy()
    as_trained = {
        fidelity: len(
            generate(dataclasses.replace(bundle, fidelity=fidelity), 5, initial_motion=start)
        )
        for fidelity in BOTH
    }
    assert as_trained == {"published": 124, "corrected": 150}
