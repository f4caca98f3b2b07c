"""The networks: what depends on what, sizes, initialisation, and the promises of their
docstrings.
"""

import math

import pytest
import torch

from mambatalk.errors import InputError
from mambatalk.models.fgd.network import FGDDecoder, FGDEncoder
from mambatalk.models.fgd.skeleton_graph import bones_of, neighbours, pool
from mambatalk.models.generator.audio_encoder import AudioEncoder
from mambatalk.models.generator.fusion import Fusion, fit_steps
from mambatalk.models.generator.layers import PositionalEncoding
from mambatalk.models.generator.network import Generator, GeneratorConfig
from mambatalk.models.mamba.block import MambaAttention, MambaBlock
from mambatalk.models.vq.quantizer import Quantizer
from mambatalk.models.vq.vqvae import VQVAE, AutoEncoder
from mambatalk.motion.skeleton import MOTION_DIM, PARENTS, PARTS, POSE_DIM

CONFIG = GeneratorConfig(
    vocabulary_size=30,
    speakers=3,
    hidden=32,
    audio_dim=24,
    audio_width=4,
    word_dim=20,
    motion_dim=16,
    code_dim=12,
    codebook_size=18,
)


@pytest.fixture(scope="module")
def generator():
    torch.manual_seed(0)
    return Generator(CONFIG).eval().requires_grad_(False)


@pytest.fixture
def inputs():
    draw = torch.Generator().manual_seed(1)
    return {
        "wave_face": torch.randn(2, 34133, 3, generator=draw),
        "wave_body": torch.randn(2, 34133, 2, generator=draw),
        "words": torch.randint(30, (2, 64), generator=draw),
        "speaker": torch.tensor([[0], [2]]).expand(2, 64),
        "motion": torch.randn(2, 64, MOTION_DIM, generator=draw),
        "mask": torch.rand(2, 64, MOTION_DIM, generator=draw) < 0.5,
    }


def all_equal(one, other):
    return all(
        torch.equal(a[part], b[part]) for a, b in zip(one, other, strict=True) for part in PARTS
    )


def test_shapes_of_a_small_generator(generator, inputs):
    output = generator(**inputs)
    assert {part: tuple(output.latent[part].shape) for part in PARTS} == dict.fromkeys(
        PARTS, (2, 64, 12)
    )
    assert {part: tuple(output.logits[part].shape) for part in PARTS} == dict.fromkeys(
        PARTS, (2, 64, 18)
    )


def test_one_fusion_serves_every_pass_bit_for_bit(generator, inputs):
    fused = generator.fuse(inputs["wave_face"], inputs["wave_body"], inputs["words"])
    rest = {name: inputs[name] for name in ("speaker", "motion", "mask")}
    assert all_equal(generator.forward_fused(fused, **rest), generator(**inputs))


def test_hidden_motion_cannot_be_seen_and_shown_motion_is(generator, inputs):
    before = generator(**inputs)
    noise = torch.randn(2, 64, MOTION_DIM, generator=torch.Generator().manual_seed(2))
    hidden = inputs | {"motion": torch.where(inputs["mask"], noise, inputs["motion"])}
    shown = inputs | {"motion": torch.where(inputs["mask"], inputs["motion"], noise)}
    assert all_equal(generator(**hidden), before)
    assert not all_equal(generator(**shown), before)


def test_the_face_looks_back_only_and_the_body_both_ways(generator, inputs):
    before = generator(**inputs)
    changed = inputs | {
        "words": torch.cat((inputs["words"][:, :40], (inputs["words"][:, 40:] + 7) % 30), dim=1)
    }
    after = generator(**changed)
    torch.testing.assert_close(after.latent["face"][:, :40], before.latent["face"][:, :40])
    assert not torch.allclose(after.latent["face"][:, 40:], before.latent["face"][:, 40:])
    for part in PARTS[1:]:
        assert not torch.allclose(after.latent[part][:, :20], before.latent[part][:, :20])


def test_sound_words_and_speaker_all_matter_to_all_parts(generator, inputs):
    before = generator(**inputs)
    for name, value in (
        ("wave_face", inputs["wave_face"].flip(1)),
        ("wave_body", inputs["wave_body"].flip(1)),
        ("words", (inputs["words"] + 1) % 30),
        ("speaker", 1 - inputs["speaker"].clamp(max=1)),
    ):
        after = generator(**inputs | {name: value})
        moved = {part for part in PARTS if not torch.equal(after.latent[part], before.latent[part])}
        assert moved == (
            {"face"}
            if name == "wave_face"
            else set(PARTS[1:])
            if name == "wave_body"
            else set(PARTS)
        )


def test_dropout_is_drawn_in_training_alone(inputs):
    torch.manual_seed(0)
    generator = Generator(CONFIG)
    fused = generator.eval().fuse(inputs["wave_face"], inputs["wave_body"], inputs["words"])
    rest = [inputs[name] for name in ("speaker", "motion", "mask")]
    generator.train()
    assert not all_equal(
        generator.forward_fused(fused, *rest), generator.forward_fused(fused, *rest)
    )


def test_full_size_has_the_published_parameters_less_the_dead_ones():
    with torch.device("meta"):
        generator = Generator(GeneratorConfig(vocabulary_size=11195))
    assert sum(p.numel() for p in generator.parameters()) == 199_366_553 - 3_546_624


@pytest.mark.parametrize(("samples", "steps"), [(34133, 64), (34112, 64)])
def test_both_published_windows_of_sound_give_64_steps(samples, steps):
    with torch.no_grad():
        assert AudioEncoder(3, 4, 8).eval()(torch.zeros(1, samples, 3)).shape == (1, steps, 8)


def test_missing_steps_repeat_the_last_and_too_few_are_refused():
    x = torch.arange(5.0).view(1, 5, 1)
    assert fit_steps(x, 3).flatten().tolist() == [0, 1, 2]
    assert fit_steps(x, 7).flatten().tolist() == [0, 1, 2, 3, 4, 3, 4]
    with pytest.raises(ValueError, match="too short"):
        fit_steps(x, 11)


def test_the_gate_mixes_word_and_sound_within_their_range():
    torch.manual_seed(0)
    fusion = Fusion(channels=2, audio_dim=8, audio_width=4, vocabulary_size=9, word_dim=6).eval()
    wave, words = torch.randn(1, 34112, 2), torch.arange(64)[None] % 9
    with torch.no_grad():
        word, sound = fusion.word_projection(fusion.embedding(words)), fusion.audio(wave)
        fused = fusion(wave, words)
    assert (fused <= torch.maximum(word, sound) + 1e-6).all()
    assert (fused >= torch.minimum(word, sound) - 1e-6).all()


def test_positions_repeat_every_64_steps_and_have_no_end():
    encoding = PositionalEncoding(10, dropout=0.0)
    table = encoding(torch.zeros(1, 300, 10))[0]
    torch.testing.assert_close(table[:64], table[64:128])
    assert table[3, 0] == pytest.approx(math.sin(3))
    assert table[3, 1] == pytest.approx(math.cos(3))


def test_codes_are_the_nearest_and_the_gradient_passes_straight_through():
    torch.manual_seed(0)
    book, latent = Quantizer(7, 5), torch.randn(2, 4, 5, requires_grad=True)
    quantized = book(latent)
    assert torch.equal(quantized.index, torch.cdist(latent, book.embedding.weight[None]).argmin(-1))
    torch.testing.assert_close(quantized.vectors, book.lookup(quantized.index))
    (gradient,) = torch.autograd.grad(quantized.vectors.sum(), latent, retain_graph=True)
    assert torch.equal(gradient, torch.ones_like(latent))
    to_codes, to_latents = torch.autograd.grad(quantized.loss, [book.embedding.weight, latent])
    assert to_codes.abs().sum() > 0
    assert to_latents.abs().sum() > 0


def test_perplexity_counts_codes_in_use():
    book = Quantizer(8, 4)
    latent = book.embedding.weight.detach()[torch.tensor([[0, 1, 2, 3], [0, 1, 2, 3]])]
    assert float(book(latent).perplexity) == pytest.approx(4, rel=1e-4)
    assert float(book(latent[:, :1]).perplexity) == pytest.approx(1, rel=1e-4)


@pytest.mark.parametrize(("layers", "encoder_reach", "decoder_reach"), [(2, 6, 7), (4, 12, 9)])
def test_auto_encoders_see_as_far_as_they_say(layers, encoder_reach, decoder_reach):
    torch.manual_seed(0)
    model = AutoEncoder(5, 8, layers)
    for network, dim, reach in (
        (model.encoder, 5, encoder_reach),
        (model.decoder, 8, decoder_reach),
    ):
        x = torch.randn(1, 61, dim, requires_grad=True)
        (gradient,) = torch.autograd.grad(network(x)[0, 30].sum(), x)
        touched = gradient[0].abs().sum(-1).nonzero().flatten()
        assert (int(touched[0]), int(touched[-1])) == (30 - reach, 30 + reach)


def test_decoding_codes_is_decoding_their_vectors():
    torch.manual_seed(0)
    model, x = VQVAE(6, 8, 2, 5), torch.randn(2, 9, 6)
    output = model(x)
    torch.testing.assert_close(
        model.decode_index(output.quantized.index), output.reconstruction, rtol=1e-4, atol=1e-5
    )


def test_stacks_start_as_published():
    torch.manual_seed(0)
    stack = MambaAttention(32, 32, layers=2)
    assert torch.equal(stack.attention.linear1.bias, torch.zeros(32))
    assert stack.layers[0].mixer.dt_proj.bias.abs().sum() > 0
    assert float(stack.layers[1].mlp.fc2.weight.detach().abs().max()) <= math.sqrt(1 / 128) / 2
    steps = torch.nn.functional.softplus(MambaBlock(64).dt_proj.bias.detach())
    assert 1e-3 - 1e-6 <= float(steps.min()) < float(steps.max()) <= 0.1 + 1e-6


def test_bones_pool_along_chains_to_35_and_20():
    bones = bones_of(PARENTS)
    assert len(bones) == 55
    once, groups = pool(bones)
    assert groups[:4] == [(0,), (1, 4), (7, 10), (2, 5)]
    assert sorted(bone for group in groups for bone in group) == list(range(55))
    twice, _ = pool(once)
    assert (len(once), len(twice), len(pool(twice)[0])) == (35, 20, 20)


def test_bones_see_two_joints_far():
    near = neighbours(bones_of(PARENTS))
    assert near.diagonal().all()
    assert (near == near.T).all()
    assert near[20].nonzero()[0].tolist() == [16, 18, 20, 25, 26, 28, 29, 31, 32, 34, 35, 37, 38]


@pytest.mark.parametrize("latent", [60, 240])
def test_fgd_features_come_at_a_sixteenth_and_decode_back(latent):
    encoder, decoder = FGDEncoder(latent), FGDDecoder(latent)
    features = encoder(torch.randn(2, 64, POSE_DIM))
    assert features.shape == (2, 4, latent)
    assert features.abs().max() < 1
    assert decoder(features).shape == (2, 64, POSE_DIM)


def test_fgd_features_of_a_bone_depend_on_bones_near_it_alone():
    torch.manual_seed(0)
    pose = torch.randn(1, 64, POSE_DIM, requires_grad=True)
    block = FGDEncoder(240).blocks[0]
    # Before the group norm, which mixes everything: the left foot's channels and the right hand's
    # are strangers.
    left_foot = block.residual(pose.transpose(1, 2))[:, 60:66].sum()
    (gradient,) = torch.autograd.grad(left_foot, pose)
    assert gradient[..., 6 * 7 : 6 * 8].abs().sum() > 0
    assert gradient[..., 6 * 40 :].abs().sum() == 0


def test_an_fgd_size_that_bones_cannot_share_is_refused():
    with pytest.raises(InputError, match="multiple of 20"):
        FGDEncoder(50)
