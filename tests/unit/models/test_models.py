"""The networks: what depends on what, sizes, initialisation, and the promises of their
docstrings.
"""

import math

import pytest
import torch

from mambatalk.models.generator.audio_encoder import AudioEncoder
from mambatalk.models.generator.fusion import Fusion, fit_steps
from mambatalk.models.generator.layers import PositionalEncoding
from mambatalk.models.generator.network import Generator, GeneratorConfig
from mambatalk.models.mamba.block import MambaAttention, MambaBlock
from mambatalk.motion.skeleton import MOTION_DIM, PARTS

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


def test_stacks_start_as_published():
    torch.manual_seed(0)
    stack = MambaAttention(32, 32, layers=2)
    assert torch.equal(stack.attention.linear1.bias, torch.zeros(32))
    assert stack.layers[0].mixer.dt_proj.bias.abs().sum() > 0
    assert float(stack.layers[1].mlp.fc2.weight.detach().abs().max()) <= math.sqrt(1 / 128) / 2
    steps = torch.nn.functional.softplus(MambaBlock(64).dt_proj.bias.detach())
    assert 1e-3 - 1e-6 <= float(steps.min()) < float(steps.max()) <= 0.1 + 1e-6
