"""Training of the generator: learning, determinism, masks, and text dropout."""

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mambatalk.errors import InputError
from mambatalk.features.store import FeatureStore
from mambatalk.fidelity import CORRECTED, PUBLISHED, FidelityRules
from mambatalk.models.generator.local_scan import Target
from mambatalk.models.generator.network import GeneratorConfig, GeneratorOutput
from mambatalk.models.generator.speaker import SpeakerForm
from mambatalk.models.mamba.compiled.load import is_available
from mambatalk.models.vq.quantizer import codebook_usage
from mambatalk.models.vq.vqvae import VQVAE
from mambatalk.motion.skeleton import PART_DIMS, PARTS, Part, pose_channels
from mambatalk.synthesis.synthesizer import Synthesizer
from mambatalk.training.codes import encode_codes
from mambatalk.training.loop.data import TrainingData
from mambatalk.training.loop.module import LossTerms, Step
from mambatalk.training.modules import generator as _generator
from mambatalk.training.modules.generator import (
    GeneratorTraining,
    build_generator,
    optim_settings,
    train_generator,
)
from mambatalk.training.modules.generator_step import (
    draw_progress,
    drop_text,
    motion_loss,
    prefix_mask,
)
from tests.helpers.speech import speech
from tests.helpers.tiny_bundle import tiny_bundle
from tests.helpers.tiny_training import CONTEXT, CPU, GENERATOR, same_weights, train_gen

Networks = dict[Part, VQVAE]


@pytest.mark.slow
def test_generator_overfits_a_few_windows(store: FeatureStore, networks: Networks) -> None:
    trained = train_gen(store, networks, epochs=24, lr=5e-3, dropout=0.0, text_dropout=0.0)
    first, last = trained.curve.rows[0], trained.curve.rows[-1]
    assert last["train/index_full"] < 0.5 * first["train/index_full"]
    assert trained.metrics["loss"] in [row["val/loss"] for row in trained.curve.rows]
    assert not trained.network.training


def test_the_full_mask_selects_the_best_epoch_and_published_training_the_last() -> None:
    """The loss of the random mask rises with the share that it hides, and selects nothing."""
    assert optim_settings(GENERATOR, CORRECTED).select == "best"
    assert optim_settings(replace(GENERATOR, select="last"), CORRECTED).select == "last"
    assert optim_settings(GENERATOR, PUBLISHED).select == "last"
    assert optim_settings(replace(GENERATOR, patience=7), CORRECTED).patience == 7
    assert set(GeneratorTraining.selected_by) == {"latent_full", "index_full"}
    motion = replace(GENERATOR, target="motion")
    network = build_generator(
        motion, vocabulary_size=6, speakers=2, codebook_size=16, code_dim=12, rules=CORRECTED
    )
    assert GeneratorTraining(network, {}, {}, motion, CORRECTED).selected_by == ("motion_full",)


@pytest.mark.parametrize(
    ("rules", "speaker", "target"),
    # Published fidelity has no other.
    [(CORRECTED, "adaptive", "motion"), (PUBLISHED, "added", "codes")],
    ids=["corrected", "published"],
)
def test_the_network_is_built_as_configured(
    rules: FidelityRules, speaker: SpeakerForm, target: Target
) -> None:
    config = replace(
        GENERATOR,
        word_dim=24,
        dropout=0.3,
        global_scan=False,
        local_scan=False,
        use_words=False,
        speaker=speaker,
        target=target,
    )
    network = build_generator(
        config, vocabulary_size=6, speakers=5, codebook_size=16, code_dim=12, rules=rules
    )
    assert network.config == GeneratorConfig(
        vocabulary_size=6,
        speakers=5,
        hidden=32,
        audio_dim=16,
        audio_width=4,
        word_dim=24,
        motion_dim=12,
        code_dim=12,
        codebook_size=16,
        dropout=0.3,
        aligned=rules.time_aligned_attention,
        global_scan=False,
        local_scan=False,
        use_words=False,
        speaker=speaker,
        target=target,
        streaming=False,
    )


@pytest.mark.parametrize("rules", [CORRECTED, PUBLISHED], ids=["corrected", "published"])
def test_same_seed_gives_the_same_weights(
    store: FeatureStore, networks: Networks, rules: FidelityRules
) -> None:
    first, second, other = (
        train_gen(store, networks, seed=seed, rules=rules) for seed in (1, 1, 2)
    )
    assert same_weights(first.network, second.network)
    assert first.curve.rows == second.curve.rows
    assert not same_weights(first.network, other.network)


def test_gradients_are_clipped_to_the_configured_norm(
    store: FeatureStore, networks: Networks
) -> None:
    first, other, unclipped = (
        train_gen(store, networks, clip_norm=norm) for norm in (0.99, 0.01, 1e9)
    )
    assert not same_weights(first.network, other.network)
    assert not same_weights(first.network, unclipped.network)


def test_evaluation_has_the_statistics_of_the_last_weights(
    store: FeatureStore, networks: Networks
) -> None:
    """Moving averages of earlier weights' features made validation, and the choice of the epoch,
    a matter of chance; synthesis normalises with them."""
    data = TrainingData.from_store(
        store, length=64, stride=20, audio=True, rules=CORRECTED, batch_size=4, seed=0
    )
    batches = list(data.training_batches(0, CPU))
    distances = []
    for rules in (CORRECTED, replace(CORRECTED, current_statistics=False)):
        network = train_gen(store, networks, epochs=3, lr=0.02, rules=rules).network
        norms = [one for one in network.modules() if isinstance(one, nn.BatchNorm1d)]
        assert {norm.momentum for norm in norms} == {0.1}
        training = copy.deepcopy(network).train()
        distance = 0.0
        with torch.no_grad():
            for batch in batches:
                assert batch.audio is not None
                inputs = (batch.audio, batch.audio[..., :2], batch.words)
                pairs = zip(network.fuse(*inputs), training.fuse(*inputs), strict=True)
                distance += sum(float((a - b).square().mean()) for a, b in pairs)
        distances.append(distance)
    assert distances[0] < 0.5 * distances[1]


def test_statistics_leave_the_weights_and_the_random_draws_alone(
    store: FeatureStore, networks: Networks
) -> None:
    now, averaged = (
        train_gen(store, networks, rules=rules, select="last")
        for rules in (CORRECTED, replace(CORRECTED, current_statistics=False))
    )
    pairs = zip(now.network.parameters(), averaged.network.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    assert not same_weights(now.network, averaged.network)


def test_attention_keeps_its_weights_for_the_backward_pass(
    store: FeatureStore, networks: Networks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other kernels ended trainings on a GPU with NaN (docs/experiments.md)."""
    kernels = torch.backends.cuda
    allowed = []
    step_terms = _generator.step_terms

    def recording(*arguments: Any, **options: Any) -> LossTerms:
        found = (kernels.flash_sdp_enabled(), kernels.mem_efficient_sdp_enabled())
        allowed.append((*found, kernels.cudnn_sdp_enabled(), kernels.math_sdp_enabled()))
        return step_terms(*arguments, **options)

    monkeypatch.setattr(_generator, "step_terms", recording)
    train_gen(store, networks, epochs=1)
    assert set(allowed) == {(False, False, False, True)}


def test_hidden_share_grows_from_its_start_towards_one(
    store: FeatureStore, networks: Networks, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float] = []
    original = _generator.step_terms

    def step_terms(*arguments, mask_probability: float, **keywords):  # type: ignore[no-untyped-def]
        seen.append(mask_probability)
        return original(*arguments, mask_probability=mask_probability, **keywords)

    monkeypatch.setattr(_generator, "step_terms", step_terms)
    train_gen(store, networks, epochs=4, mask_start=0.2, batch_size=8)
    training, validation = seen[::2], seen[1::2]
    assert training == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert validation == training


def test_targets_are_the_codes_of_the_frames_of_each_window(
    store: FeatureStore, networks: Networks, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = encode_codes(store, networks, rules=CORRECTED, device=CPU)
    original = _generator.step_terms
    checked: list[int] = []

    def step_terms(network, batch, targets, *arguments, **keywords):  # type: ignore[no-untyped-def]
        for row, first in enumerate(batch.frames.tolist()):
            for part in PARTS:
                expected = codes[part][first : first + 64]
                np.testing.assert_array_equal(targets[part][row], expected)
            checked.append(first)
        return original(network, batch, targets, *arguments, **keywords)

    monkeypatch.setattr(_generator, "step_terms", step_terms)
    train_gen(store, networks, epochs=1)
    assert len(set(checked)) > 2


def test_latent_weight_scales_the_latent_terms(store: FeatureStore, networks: Networks) -> None:
    first, second = (
        train_gen(store, networks, epochs=1, latent_weight=weight, lr=1e-9).curve.rows[0]
        for weight in (1.0, 2.0)
    )
    for name in ("latent_full", "latent_random"):
        assert second[f"val/{name}"] == pytest.approx(2 * first[f"val/{name}"], rel=1e-4)
    for name in ("index_full", "index_random"):
        assert second[f"val/{name}"] == pytest.approx(first[f"val/{name}"], rel=1e-4)


def test_without_a_weight_the_random_pass_is_left_out(
    store: FeatureStore, networks: Networks
) -> None:
    with_pass, without = (
        train_gen(store, networks, epochs=1, random_weight=weight, lr=1e-9).curve.rows[0]
        for weight in (2.0, 0.0)
    )
    assert not [name for name in without if "random" in name]
    for name in ("val/latent_full", "val/index_full"):
        assert without[name] == pytest.approx(with_pass[name], rel=1e-4)


def test_a_prefix_mask_hides_all_channels_from_a_random_frame_on() -> None:
    torch.manual_seed(0)
    mask = prefix_mask(torch.zeros(7000, 8, 3), 2)
    visible = (~mask[..., 0]).sum(1)
    counts = torch.bincount(visible, minlength=9)
    assert counts[:2].tolist() == [0, 0]
    # Each as often as the others: 1,000 of 7,000, with a standard deviation of 29.
    assert ((counts[2:] - 1000).abs() < 150).all()
    for row, count in zip(mask, visible.tolist(), strict=True):
        assert not row[:count].any()
        assert row[count:].all()


def test_random_passes_share_the_weight_and_differ_by_dropout(
    store: FeatureStore, networks: Networks
) -> None:
    settings: dict[str, Any] = {"epochs": 1, "lr": 1e-9}
    one, two, prefix = (
        train_gen(store, networks, **settings, **changes).curve.rows[0]
        for changes in ({}, {"random_passes": 2}, {"random_mask": "prefix"})
    )
    # Validation has no dropout.
    assert two["val/index_random"] == pytest.approx(one["val/index_random"], rel=1e-4)
    assert two["train/index_random"] != one["train/index_random"]
    assert prefix["val/index_random"] != one["val/index_random"]


def test_generated_codes_are_measured_beside_those_of_the_recording(
    store: FeatureStore, networks: Networks
) -> None:
    trained = train_gen(store, networks, epochs=2)
    again = train_gen(store, networks, epochs=2)
    assert again.metrics == trained.metrics
    codes = encode_codes(store, networks, rules=CORRECTED, device=CPU)
    (clip,) = store.clips_in_split("val")
    # The validation windows of 64 frames lie side by side.
    frames = clip.first_frame + np.arange(clip.frames // 64 * 64)
    for part in PARTS:
        true = torch.from_numpy(codes[part][frames].astype(np.int64))
        expected = codebook_usage(true, 16)["perplexity"]
        assert trained.metrics[f"{part}/true_perplexity"] == pytest.approx(expected)
        assert 1 <= trained.metrics[f"{part}/perplexity"] <= 16
        assert trained.curve.rows[-1][f"check/{part}/perplexity"] == pytest.approx(
            trained.metrics[f"{part}/perplexity"]
        )


def test_auto_encoders_are_not_changed(store: FeatureStore, networks: Networks) -> None:
    before = copy.deepcopy(networks)
    train_gen(store, networks, epochs=1)
    for part in PARTS:
        assert same_weights(before[part], networks[part])
        assert all(weight.grad is None for weight in networks[part].parameters())


def test_module_state_is_the_network_alone(
    store: FeatureStore, networks: Networks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Codes and codebooks are inputs; a state of the whole corpus' codes would grow with it."""
    modules: list[GeneratorTraining] = []
    forward = GeneratorTraining.forward

    def spy(self: GeneratorTraining, batch: object, step: Step) -> object:
        modules.append(self)
        return forward(self, batch, step)  # type: ignore[arg-type]

    monkeypatch.setattr(GeneratorTraining, "forward", spy)
    train_gen(store, networks, epochs=1)
    assert all(key.startswith("network.") for key in modules[0].state_dict())


def test_codes_of_other_features_are_reported_in_one_line(
    store: FeatureStore, networks: Networks
) -> None:
    codes = {part: np.zeros(17, np.int16) for part in PARTS}
    with pytest.raises(
        InputError, match="codes of face: expected the features' 450 frames, found 17"
    ):
        train_generator(
            store,
            codes,
            networks,
            GENERATOR,
            vocabulary_size=6,
            speakers=2,
            rules=CORRECTED,
            seed=0,
            context=CONTEXT,
        )


def test_training_for_streams_shows_what_a_stream_knows() -> None:
    torch.manual_seed(0)
    visible, arrived = draw_progress(4000, GENERATOR, CPU)
    assert (int(visible.min()), int(visible.max())) == (4, 59)
    assert (arrived > visible).all()
    assert arrived.max() == 64
    assert 0.88 < (arrived == 64).float().mean() < 0.94

    # How much audio is missing has nothing to do with how much motion is known.
    cut = arrived < 64
    missing = (64 - arrived[cut]) / (64 - visible[cut])
    assert missing.max() > 0.8
    both = torch.stack([missing, visible[cut].float()])
    assert abs(float(torch.corrcoef(both)[0, 1])) < 0.2


def test_a_generator_for_streams_says_so(store: FeatureStore, networks: Networks) -> None:
    network = train_gen(store, networks, streaming=True, epochs=1).network
    assert network.config.streaming
    with pytest.raises(InputError, match=r"streaming: expected false with published"):
        train_gen(store, networks, streaming=True, rules=PUBLISHED)


@pytest.mark.parametrize("speaker", ["adaptive", "attention"])
def test_only_corrected_training_learns_the_speaker_in_another_way(
    store: FeatureStore, networks: Networks, speaker: str
) -> None:
    trained = train_gen(store, networks, speaker=speaker, epochs=1)
    assert trained.network.config.speaker == speaker
    with pytest.raises(InputError, match=r"speaker: expected added with published"):
        train_gen(store, networks, speaker=speaker, rules=PUBLISHED)


def test_a_generator_of_motion_learns_and_its_bundle_moves_in_every_frame(
    store: FeatureStore, networks: Networks
) -> None:
    trained = train_gen(store, networks, target="motion", epochs=10, text_dropout=0.0)
    first, last = trained.curve.rows[0], trained.curve.rows[-1]
    terms = {name for name in first if name.startswith("train/")}
    assert {"train/motion_full", "train/motion_random"} < terms
    assert not [name for name in terms if "index" in name or "latent" in name]
    assert last["train/motion_full"] < 0.9 * first["train/motion_full"]

    bundle = replace(tiny_bundle(), generator=trained.network.eval())
    motion = Synthesizer(bundle).generate(speech(5))
    assert len(motion) == 150
    for array in (motion.poses, motion.expressions, motion.trans):
        assert np.isfinite(array).all()


@pytest.mark.slow
def test_a_generator_of_motion_learns_more_than_the_mean_pose(
    store: FeatureStore, networks: Networks
) -> None:
    trained = train_gen(
        store,
        networks,
        target="motion",
        epochs=24,
        lr=5e-3,
        dropout=0.0,
        text_dropout=0.0,
        random_weight=0.0,
    )
    # The mean of a channel has an error of one squared deviation, summed over the parts.
    assert trained.curve.rows[-1]["train/motion_full"] < 0.93 * len(PARTS)


def test_a_generator_of_motion_starts_at_the_mean_of_each_channel(
    store: FeatureStore, networks: Networks
) -> None:
    network = train_gen(store, networks, target="motion", epochs=1, lr=1e-9).network
    (clip,) = store.clips_in_split("train")
    jaw = store.motion[store.frames(clip)][:, pose_channels("face")]
    head = network.channel_head("face")
    # Training windows overlap, so that frames in the middle of the clip count more often.
    np.testing.assert_allclose(head.mean[:6], jaw.mean(0), atol=0.2)
    np.testing.assert_allclose(head.deviation[:6], jaw.std(0), rtol=0.2)
    assert all((network.channel_head(part).deviation >= 0.01).all() for part in PARTS)


def test_every_channel_counts_alike_however_little_it_varies() -> None:
    network = build_generator(
        replace(GENERATOR, target="motion"),
        vocabulary_size=6,
        speakers=2,
        codebook_size=16,
        code_dim=12,
        rules=CORRECTED,
    )
    truth = {part: torch.randn(2, 3, PART_DIMS[part]) for part in PARTS}
    for part in PARTS:
        deviation = torch.rand(PART_DIMS[part]) + 0.01
        network.channel_head(part).fit(torch.zeros_like(deviation), deviation)
    wrong = {part: rows + network.channel_head(part).deviation for part, rows in truth.items()}
    for output, expected in ((truth, 0.0), (wrong, float(len(PARTS)))):
        loss = motion_loss(network, GeneratorOutput(output, {}), truth)
        assert loss.item() == pytest.approx(expected, abs=1e-4)


def test_published_training_predicts_codes(store: FeatureStore, networks: Networks) -> None:
    with pytest.raises(InputError, match=r"target: expected codes with published"):
        train_gen(store, networks, target="motion", rules=PUBLISHED)


def test_text_is_dropped_by_whole_windows() -> None:
    torch.manual_seed(0)
    kept = drop_text(torch.full((2000, 3), 4), 0.2)
    assert ((kept == 4).all(1) | (kept == 0).all(1)).all()
    assert float((kept == 0).float().mean()) == pytest.approx(0.2, abs=0.03)


def test_loops_are_compiled_before_the_training_holds_signals_back(
    store: FeatureStore, networks: Networks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within a step a stop signal would wait for the compilation, ten seconds."""

    class Begun(Exception):
        pass

    def begin(*_: object) -> None:
        raise Begun

    monkeypatch.setattr(_generator, "train", begin)
    is_available.cache_clear()
    with pytest.raises(Begun):
        train_gen(store, networks, epochs=1)
    assert is_available.cache_info().currsize == 1
