"""The generator: which inputs affect which outputs, sizes, audio encoder and fusion."""

import json
import math
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from mambatalk.models.generator.audio_encoder import AudioBlock, AudioEncoder, pack
from mambatalk.models.generator.fusion import Fusion, fit_steps
from mambatalk.models.generator.layers import PositionalEncoding
from mambatalk.models.generator.network import Generator, GeneratorConfig, GeneratorOutput
from mambatalk.models.generator.speaker import SpeakerForm
from mambatalk.models.generator.storage import load_generator, save_generator
from mambatalk.models.generator.tiled_conv import tiled_conv
from mambatalk.motion.skeleton import MOTION_DIM, PART_DIMS, PARTS

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
BODY_PARTS = set(PARTS) - {"face"}


@pytest.fixture(scope="module")
def generator() -> Generator:
    torch.manual_seed(0)
    return Generator(CONFIG).eval().requires_grad_(False)


@pytest.fixture
def inputs() -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(1)
    return {
        "wave_face": torch.randn(2, 34133, 3, generator=draw),
        "wave_body": torch.randn(2, 34133, 2, generator=draw),
        "words": torch.randint(30, (2, 64), generator=draw),
        "speaker": torch.tensor([[0], [2]]).expand(2, 64),
        "motion": torch.randn(2, 64, MOTION_DIM, generator=draw),
        "mask": torch.rand(2, 64, MOTION_DIM, generator=draw) < 0.5,
    }


def _all_equal(first: GeneratorOutput, second: GeneratorOutput) -> bool:
    pairs = [*zip(first, second, strict=True)]
    return all(torch.equal(one[part], other[part]) for one, other in pairs for part in PARTS)


@pytest.mark.parametrize("name", ["global_scan", "local_scan"])
def test_without_a_scan_its_weights_are_gone_and_the_rest_still_computes(
    inputs: dict[str, Tensor], name: str
) -> None:
    whole = Generator(CONFIG).state_dict()
    network = Generator(replace(CONFIG, **{name: False})).eval()
    gone = whole.keys() - network.state_dict().keys()
    assert gone
    assert all(key.startswith(f"{name}.") and "scan." in key for key in gone)
    output = network(**inputs)
    assert output.logits["upper"].shape == (2, 64, CONFIG.codebook_size)


def test_without_words_other_words_change_nothing(inputs: dict[str, Tensor]) -> None:
    network = Generator(replace(CONFIG, use_words=False)).eval().requires_grad_(False)
    other = {**inputs, "words": inputs["words"].flip(1)}
    assert _all_equal(network(**inputs), network(**other))


def test_outputs_have_one_row_per_frame_and_part(
    generator: Generator, inputs: dict[str, Tensor]
) -> None:
    output = generator(**inputs)
    latent_shapes = {part: tuple(output.latent[part].shape) for part in PARTS}
    logits_shapes = {part: tuple(output.logits[part].shape) for part in PARTS}
    assert latent_shapes == dict.fromkeys(PARTS, (2, 64, CONFIG.code_dim))
    assert logits_shapes == dict.fromkeys(PARTS, (2, 64, CONFIG.codebook_size))


def test_pass_with_fused_features_equals_the_full_pass(
    generator: Generator, inputs: dict[str, Tensor]
) -> None:
    fused = generator.fuse(inputs["wave_face"], inputs["wave_body"], inputs["words"])
    rest = {name: inputs[name] for name in ("speaker", "motion", "mask")}
    assert _all_equal(generator.forward_fused(fused, **rest), generator(**inputs))


def test_only_visible_motion_affects_the_output(
    generator: Generator, inputs: dict[str, Tensor]
) -> None:
    before = generator(**inputs)
    noise = torch.randn(2, 64, MOTION_DIM, generator=torch.Generator().manual_seed(2))
    mask, motion = inputs["mask"], inputs["motion"]
    hidden_changed = inputs | {"motion": torch.where(mask, noise, motion)}
    visible_changed = inputs | {"motion": torch.where(mask, motion, noise)}
    assert _all_equal(generator(**hidden_changed), before)
    assert not _all_equal(generator(**visible_changed), before)


def test_face_is_causal_and_body_uses_the_whole_window(
    generator: Generator, inputs: dict[str, Tensor]
) -> None:
    before = generator(**inputs).latent
    words = inputs["words"].clone()
    words[:, 40:] = (words[:, 40:] + 7) % 30
    after = generator(**inputs | {"words": words}).latent

    torch.testing.assert_close(after["face"][:, :40], before["face"][:, :40])
    assert not torch.allclose(after["face"][:, 40:], before["face"][:, 40:])
    for part in BODY_PARTS:
        assert not torch.allclose(after[part][:, :20], before[part][:, :20])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("wave_face", {"face"}),
        ("wave_body", BODY_PARTS),
        ("words", set(PARTS)),
        ("speaker", set(PARTS)),
    ],
)
def test_each_input_affects_the_expected_parts(
    generator: Generator, inputs: dict[str, Tensor], name: str, expected: set[str]
) -> None:
    changed = {
        "wave_face": inputs["wave_face"].flip(1),
        "wave_body": inputs["wave_body"].flip(1),
        "words": (inputs["words"] + 1) % 30,
        "speaker": 1 - inputs["speaker"].clamp(max=1),
    }
    before = generator(**inputs).latent
    after = generator(**inputs | {name: changed[name]}).latent
    assert {part for part in PARTS if not torch.equal(after[part], before[part])} == expected


OTHER_FORMS = pytest.mark.parametrize("form", ["adaptive", "attention"])


def _trained_one_step(form: SpeakerForm, inputs: dict[str, Tensor]) -> Generator:
    """Return a new generator after one step towards any output, without dropout."""
    torch.manual_seed(0)
    network = Generator(replace(CONFIG, speaker=form, dropout=0.0)).eval()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    sum(latent.square().mean() for latent in network(**inputs).latent.values()).backward()
    optimizer.step()
    optimizer.zero_grad()
    return network


@OTHER_FORMS
def test_a_new_generator_does_not_depend_on_a_speaker_that_is_not_added(
    inputs: dict[str, Tensor], form: SpeakerForm
) -> None:
    torch.manual_seed(0)
    network = Generator(replace(CONFIG, speaker=form)).eval().requires_grad_(False)
    other = inputs | {"speaker": 1 - inputs["speaker"].clamp(max=1)}
    assert _all_equal(network(**inputs), network(**other))


@OTHER_FORMS
def test_all_parts_learn_who_speaks(inputs: dict[str, Tensor], form: SpeakerForm) -> None:
    network = _trained_one_step(form, inputs)
    other = inputs | {"speaker": 1 - inputs["speaker"].clamp(max=1)}
    before, after = network(**inputs), network(**other)
    for part in PARTS:
        assert not torch.allclose(before.latent[part], after.latent[part], atol=1e-7)

    sum(latent.square().mean() for latent in before.latent.values()).backward()
    for branch, table in network.speaker.items():
        moved = table.weight.grad.abs().sum(1) > 0
        assert moved.tolist() == [True, False, True], branch


@OTHER_FORMS
def test_every_weight_of_another_form_has_a_gradient(
    inputs: dict[str, Tensor], form: SpeakerForm
) -> None:
    """Distributed training waits for the gradient of every weight."""
    network = _trained_one_step(form, inputs)
    output = network(**inputs)
    rows = [*output.latent.values(), *output.logits.values()]
    sum(row.square().mean() for row in rows).backward()
    assert [name for name, weight in network.named_parameters() if weight.grad is None] == []


@OTHER_FORMS
def test_a_generator_of_another_form_is_read_back_whole(
    inputs: dict[str, Tensor], tmp_path: Path, form: SpeakerForm
) -> None:
    network = _trained_one_step(form, inputs).requires_grad_(False)
    save_generator(tmp_path, network)
    assert _all_equal(load_generator(tmp_path)(**inputs), network(**inputs))


def test_a_generator_that_was_stored_without_the_form_adds_the_speaker(
    generator: Generator, inputs: dict[str, Tensor], tmp_path: Path
) -> None:
    """Bundles from before the setting have no such field."""
    save_generator(tmp_path, generator)
    description = tmp_path / "generator.json"
    content = json.loads(description.read_text())
    assert content["sizes"].pop("speaker") == "added"
    description.write_text(json.dumps(content))
    assert _all_equal(load_generator(tmp_path)(**inputs), generator(**inputs))


def test_with_the_target_motion_the_output_is_the_channels_of_each_part(
    inputs: dict[str, Tensor],
) -> None:
    network = Generator(replace(CONFIG, target="motion", dropout=0.0)).eval()
    output = network(**inputs)
    shapes = {part: tuple(output.latent[part].shape) for part in PARTS}
    assert shapes == {part: (2, 64, PART_DIMS[part]) for part in PARTS}
    assert output.logits == {}
    assert not network.predicts_codes

    sum(channels.square().mean() for channels in output.latent.values()).backward()
    assert [name for name, weight in network.named_parameters() if weight.grad is None] == []


def test_channels_have_the_mean_and_the_scale_of_the_data_and_keep_them(
    inputs: dict[str, Tensor], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    network = Generator(replace(CONFIG, target="motion")).eval().requires_grad_(False)
    before = network(**inputs).latent["upper"]
    network.channel_head("upper").fit(torch.full((78,), 5.0), torch.full((78,), 0.01))
    after = network(**inputs).latent["upper"]
    torch.testing.assert_close(after, 5 + 0.01 * before)
    save_generator(tmp_path, network)
    assert torch.equal(load_generator(tmp_path)(**inputs).latent["upper"], after)


def test_dropout_makes_training_passes_differ(inputs: dict[str, Tensor]) -> None:
    torch.manual_seed(0)
    generator = Generator(CONFIG).eval()
    fused = generator.fuse(inputs["wave_face"], inputs["wave_body"], inputs["words"])
    rest = [inputs[name] for name in ("speaker", "motion", "mask")]
    generator.train()
    first = generator.forward_fused(fused, *rest)
    second = generator.forward_fused(fused, *rest)
    assert not _all_equal(first, second)


def test_full_size_has_the_published_parameters_without_the_unused_ones() -> None:
    with torch.device("meta"):
        generator = Generator(GeneratorConfig(vocabulary_size=11195))
    count = sum(parameter.numel() for parameter in generator.parameters())
    assert count == 199_366_553 - 3_546_624


@pytest.mark.parametrize("samples", [34133, 34112])
def test_both_published_window_lengths_give_64_steps(samples: int) -> None:
    with torch.no_grad():
        features = AudioEncoder(3, 4, 8).eval()(torch.zeros(1, samples, 3))
    assert features.shape == (1, 64, 8)


def test_missing_steps_repeat_the_last_ones() -> None:
    x = torch.arange(5.0).view(1, 5, 1)
    assert fit_steps(x, 3).flatten().tolist() == [0, 1, 2]
    assert fit_steps(x, 7).flatten().tolist() == [0, 1, 2, 3, 4, 3, 4]


def test_audio_shorter_than_half_of_the_frames_is_rejected() -> None:
    x = torch.arange(5.0).view(1, 5, 1)
    assert fit_steps(x, 10).shape == (1, 10, 1)
    with pytest.raises(ValueError, match="expected audio of at least 6 steps for 11 frames"):
        fit_steps(x, 11)


def test_fused_features_are_between_word_and_audio_features() -> None:
    torch.manual_seed(0)
    fusion = Fusion(channels=2, audio_dim=8, audio_width=4, vocabulary_size=9, word_dim=6).eval()
    wave = torch.randn(1, 34112, 2)
    words = torch.arange(64)[None] % 9
    with torch.no_grad():
        word = fusion.word_projection(fusion.embedding(words))
        audio = fusion.audio(wave)
        fused = fusion(wave, words)
    assert (fused <= torch.maximum(word, audio) + 1e-6).all()
    assert (fused >= torch.minimum(word, audio) - 1e-6).all()


def test_positional_encoding_repeats_every_64_steps_at_any_length() -> None:
    encoding = PositionalEncoding(10, dropout=0.0)
    table = encoding(torch.zeros(1, 300, 10))[0]
    torch.testing.assert_close(table[:64], table[64:128])
    assert table[3, 0] == pytest.approx(math.sin(3))
    assert table[3, 1] == pytest.approx(math.cos(3))


@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_the_layout_for_gpus_gives_the_same_features_and_statistics(
    same: bool, training: bool
) -> None:
    torch.manual_seed(0)
    block = AudioBlock(4, 4, 1 if same else 3, 7, same=same).train(training)
    other = deepcopy(block)
    x = torch.randn(2, 60, 4).transpose(1, 2)
    features = other._on_gpu(x.unsqueeze(2)).squeeze(2)
    torch.testing.assert_close(features, block(x), atol=2e-5, rtol=1e-5)
    for name, value in block.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], value, msg=name)


def test_stored_generator_is_read_back_whole(
    generator: Generator, inputs: dict[str, Tensor], tmp_path: Path
) -> None:
    save_generator(tmp_path, generator)
    loaded = load_generator(tmp_path)
    assert _all_equal(loaded(**inputs), generator(**inputs))


@pytest.mark.parametrize(
    ("count", "length", "padding"),
    [(2, 15, 0), (2, 33, 7), (2, 250, 7), (140, 33, 7), (2, 2400, 7)],
)
def test_a_tiled_convolution_equals_the_direct_one(count: int, length: int, padding: int) -> None:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(count, length, 24, generator=draw)
    weight = torch.randn(20, 24, 15, generator=draw)
    expected = functional.conv1d(x.double().mT, weight.double(), padding=padding).mT
    found = tiled_conv(x, weight, padding=padding)
    torch.testing.assert_close(found.double(), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("length", [600, 300, 100])
@pytest.mark.parametrize(
    "block", [AudioBlock(128, 128, 1, 7, same=True), AudioBlock(128, 144, 6)], ids=["same", "other"]
)
def test_an_audio_block_gives_the_same_without_gradients_and_packed(
    block: AudioBlock, length: int
) -> None:
    draw = torch.Generator().manual_seed(0)
    for norm in block.modules():
        if isinstance(norm, nn.BatchNorm1d):
            assert norm.running_mean is not None
            assert norm.running_var is not None
            norm.running_mean.normal_(generator=draw)
            norm.running_var.uniform_(0.5, 2, generator=draw)
    block.eval()
    x = torch.randn(2, 128, length, generator=draw)
    given = x.clone()
    expected = block(x).detach()
    with torch.inference_mode():
        found = block(x)
        packed = deepcopy(block)
        pack(packed)
        found_packed = packed(x)
    assert torch.equal(x, given)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found_packed, expected, atol=1e-5, rtol=1e-5)
