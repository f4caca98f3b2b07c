"""The one training loop, the code book's second life, codes, and that small networks learn."""

import copy
import csv

import numpy as np
import pytest
import torch
from torch import nn

from mambatalk.config import TrainFGDConfig, TrainGeneratorConfig, VQCommonConfig, VQPartConfig
from mambatalk.errors import InputError
from mambatalk.features.store import open_features
from mambatalk.fidelity import CORRECTED, PUBLISHED
from mambatalk.models.vq.quantizer import Quantizer
from mambatalk.models.vq.vqvae import VQVAE
from mambatalk.motion.parts import part_input
from mambatalk.motion.skeleton import PART_DIMS, PARTS
from mambatalk.runtime import device, make_deterministic
from mambatalk.training.codebook import CodebookWatch, usage
from mambatalk.training.codes import code_usage, encode_codes, read_codes, write_codes
from mambatalk.training.loop import Schedule, Windows, fit, validate
from mambatalk.training.modules.fgd import train_fgd_encoder
from mambatalk.training.modules.generator import drop_text, train_generator
from mambatalk.training.modules.vq import train_auto_encoder
from mambatalk.training.tracker import Curve, NullTracker
from tests.helpers.feature_folder import write_feature_folder
from tests.helpers.stand_in_body import stand_in_body

COMMON = VQCommonConfig(
    width=16,
    codebook_size=16,
    window=64,
    stride=20,
    batch_size=8,
    lr=3e-3,
    betas=(0.5, 0.999),
    mesh_weight=1.0,
    revive_dead_codes=True,
)
GENERATOR = TrainGeneratorConfig(
    hidden=32,
    audio_dim=16,
    word_dim=8,
    audio_width=4,
    dropout=0.1,
    window=64,
    stride=20,
    context_frames=4,
    batch_size=4,
    lr=2e-3,
    betas=(0.5, 0.999),
    clip_norm=0.99,
    epochs=2,
    text_dropout=0.2,
)


@pytest.fixture(scope="module", autouse=True)
def on_one_cpu_thread():
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    patch = pytest.MonkeyPatch()
    patch.setenv("MAMBATALK_DEVICE", "cpu")
    make_deterministic(0, 1)
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(strict)
    patch.undo()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    root = tmp_path_factory.mktemp("training")
    return open_features(write_feature_folder(root / "f", ctc=(0,)), root / "cache")


@pytest.fixture(scope="module")
def networks():
    torch.manual_seed(0)
    return {part: VQVAE(PART_DIMS[part], 16, 2, 16).eval() for part in PARTS}


def vq(part, store, *, epochs, rules=CORRECTED, seed=0, common=COMMON):
    return train_auto_encoder(
        part,
        store,
        stand_in_body(),
        common=common,
        mesh_vertices=30,
        rules=rules,
        seed=seed,
        config=VQPartConfig(layers=2, epochs=epochs, decay_epoch=epochs),
        tracker=NullTracker(),
    )


def generator(store, networks, *, epochs=2, seed=0, rules=CORRECTED, **changes):
    config = TrainGeneratorConfig(**{**GENERATOR.__dict__, "epochs": epochs, **changes})
    return train_generator(
        store,
        encode_codes(store, networks, rules=rules),
        networks,
        config,
        vocabulary_size=6,
        speakers=2,
        rules=rules,
        seed=seed,
        tracker=NullTracker(),
    )


def same_weights(first, second):
    return all(
        torch.equal(value, second.state_dict()[key]) for key, value in first.state_dict().items()
    )


def falls(curve, factor):
    return curve.rows[-1]["train/loss"] < factor * curve.rows[0]["train/loss"]


@pytest.mark.parametrize("part", ["upper", "lower", "global"])
def test_an_auto_encoder_learns_what_it_sees(part, store):
    trained = vq(part, store, epochs=60)
    assert falls(trained.curve, 0.5)
    assert not trained.network.training
    assert trained.metrics["loss"] == trained.curve.rows[-1]["val/loss"]


def test_the_face_learns_its_jaw_though_expressions_are_noise(store):
    # The first epoch already knows the mean pose, and hardly more.
    rows = vq("face", store, epochs=60).curve.rows
    assert rows[-1]["train/geodesic"] < 0.85 * rows[0]["train/geodesic"]


def test_the_fgd_encoder_learns(store):
    config = TrainFGDConfig(
        published=None, latent=20, window=64, stride=20, batch_size=8, lr=3e-3, epochs=40
    )
    trained = train_fgd_encoder(store, config, rules=CORRECTED, seed=0, tracker=NullTracker())
    assert falls(trained.curve, 0.6)
    assert trained.network(torch.zeros(1, 64, 330)).shape == (1, 4, 20)


def test_the_generator_learns_by_heart_what_it_hears(store, networks):
    trained = generator(store, networks, epochs=24, lr=5e-3, dropout=0.0, text_dropout=0.0)
    first, last = trained.curve.rows[0], trained.curve.rows[-1]
    assert last["train/index_full"] < 0.5 * first["train/index_full"]


@pytest.mark.parametrize("rules", [CORRECTED, PUBLISHED], ids=["corrected", "published"])
def test_the_same_seed_gives_the_same_weights(store, networks, rules):
    first, second, other = (
        generator(store, networks, seed=seed, rules=rules) for seed in (1, 1, 2)
    )
    assert same_weights(first.network, second.network)
    assert first.curve.rows == second.curve.rows
    assert not same_weights(first.network, other.network)


def test_auto_encoders_with_revived_codes_are_the_same_twice(store):
    first, second = (vq("hands", store, epochs=8, seed=3) for _ in range(2))
    assert same_weights(first.network, second.network)


def data(store, **changes):
    rows = np.array([[0, 0], [0, 20], [0, 40]])
    return Windows(
        **{
            "store": store,
            "train": rows,
            "validation": rows[:1],
            "length": 64,
            "audio": False,
            **changes,
        }
    )


def schedule(**changes):
    return Schedule(
        **{"epochs": 1, "batch_size": 2, "lr": 0.1, "betas": (0.5, 0.999), "seed": 0, **changes}
    )


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_ends_training_before_the_step(store, bad):
    network = nn.Linear(1, 1)
    before = network.weight.item()
    with pytest.raises(FloatingPointError, match=r"net: the loss is (nan|-?inf) in epoch 0"):
        fit(
            "net",
            network,
            lambda *_: {"only": network.weight.sum() * bad},
            data(store),
            schedule(),
            Curve(NullTracker()),
        )
    assert network.weight.item() == before


def test_a_last_step_that_spoils_the_weights_shows_in_validation(store):
    network = nn.Linear(1, 1)
    curve = Curve(NullTracker())

    def terms(batch, epoch):
        return {"only": network.weight.sum() * (1 if network.training else float("nan"))}

    with pytest.raises(FloatingPointError, match="nan"):
        fit("net", network, terms, data(store), schedule(), curve)
    assert curve.rows == []


def test_an_incomplete_batch_is_dropped_unless_it_is_the_only_one(store):
    seen = []
    network = nn.Linear(1, 1)

    def terms(batch, epoch):
        if network.training:
            seen.append(len(batch.motion))
        return {"only": network.weight.square().sum()}

    for size in (2, 5):
        fit(
            "net",
            network,
            terms,
            data(store),
            schedule(batch_size=size, epochs=2),
            Curve(NullTracker()),
        )
    assert seen == [2, 2, 3, 3]


def test_the_learning_rate_falls_to_a_tenth_at_the_decay_epoch(store):
    network = nn.Linear(1, 1, bias=False)
    weights = []

    def terms(batch, epoch):
        if network.training:
            weights.append(network.weight.item())
        return {"only": network.weight.sum()}

    fit(
        "net",
        network,
        terms,
        data(store),
        schedule(batch_size=3, epochs=3, decay_epoch=2),
        Curve(NullTracker()),
    )
    weights.append(network.weight.item())
    steps = -np.diff(weights)
    assert steps == pytest.approx([0.1, 0.1, 0.01], rel=1e-4)


def test_validation_draws_the_same_every_epoch_and_disturbs_no_training(store):
    def terms(batch, epoch):
        return {"only": torch.rand(()) + batch.motion.mean()}

    network = nn.Linear(1, 1)
    torch.manual_seed(5)
    first = validate(network, terms, data(store), schedule(), 0)
    then = torch.rand(3)
    second = validate(network, terms, data(store), schedule(), 1)
    torch.manual_seed(5)
    assert first == second
    assert torch.equal(then, torch.rand(3))


def test_means_weigh_windows_not_batches(store):
    network = nn.Linear(1, 1)
    batches = iter([1.0, 4.0])
    rows = np.array([[0, 0], [0, 20], [0, 40]])
    row = validate(
        network,
        lambda *_: {"only": torch.tensor(next(batches))},
        data(store, validation=rows),
        schedule(),
        0,
    )
    assert row == {"val/loss": pytest.approx(2.0), "val/only": pytest.approx(2.0)}


def test_clips_shorter_than_a_window_are_one_line(store):
    with pytest.raises(
        InputError, match="split val: found no window; expected a clip of 640 frames"
    ):
        data(store, validation=np.zeros((0, 2), np.int64), length=640)


def test_dead_codes_are_moved_onto_latents_and_living_ones_stay():
    torch.manual_seed(0)
    quantizer = Quantizer(8, 3)
    latent = quantizer.embedding.weight.detach()[:2].repeat(4, 1)[None] + 1e-4 * torch.randn(
        1, 8, 3
    )
    index = quantizer.nearest(latent)
    alive = index.unique()
    before = quantizer.embedding.weight.detach().clone()
    watch = CodebookWatch(quantizer)
    moved = [watch.revive(latent, index) for _ in range(22)]
    after = quantizer.embedding.weight.detach()
    assert moved[:-1] == [0] * 21
    assert moved[-1] == 8 - len(alive)
    assert torch.equal(after[alive], before[alive])
    dead = torch.tensor([k for k in range(8) if k not in alive])
    assert (torch.cdist(after[dead], latent[0]).min(1).values == 0).all()


def test_no_more_codes_are_revived_than_there_are_latents():
    quantizer = Quantizer(64, 3)
    watch = CodebookWatch(quantizer)
    latent, index = torch.ones(1, 2, 3), torch.zeros(1, 2, dtype=torch.long)
    assert max(watch.revive(latent, index) for _ in range(30)) == 2


def test_reviving_keeps_more_of_the_code_book_in_use(store):
    used = {
        revive: vq(
            "hands",
            store,
            epochs=30,
            common=VQCommonConfig(
                **{**COMMON.__dict__, "codebook_size": 64, "revive_dead_codes": revive}
            ),
        ).metrics["codes_used"]
        for revive in (True, False)
    }
    assert used[True] > used[False]


def test_usage_of_an_even_and_of_a_single_code():
    assert usage(torch.arange(8), 16) == {"codes_used": 0.5, "perplexity": pytest.approx(8)}
    assert usage(torch.zeros(9, dtype=torch.long), 16) == {
        "codes_used": 1 / 16,
        "perplexity": pytest.approx(1),
    }


def test_codes_are_those_of_whole_clips(store, networks):
    codes = encode_codes(store, networks, rules=CORRECTED)
    for clip in store.clips:
        rows = store.frames(clip)
        motion, expressions = (
            torch.from_numpy(x[rows].copy())[None] for x in (store.motion, store.expressions)
        )
        for part in PARTS:
            x = part_input(part, motion, expressions, rules=CORRECTED)
            np.testing.assert_array_equal(codes[part][rows], networks[part](x).quantized.index[0])


@pytest.mark.parametrize("part", PARTS)
def test_a_window_alone_is_encoded_otherwise_near_its_edges_only(store, networks, part):
    rows = store.frames(store.clips[0])
    motion, expressions = (
        torch.from_numpy(x[rows].copy())[None] for x in (store.motion, store.expressions)
    )
    x, window = part_input(part, motion, expressions, rules=PUBLISHED), slice(20, 84)
    with torch.no_grad():
        whole, alone = networks[part].encode(x)[0, window], networks[part].encode(x[:, window])[0]
    torch.testing.assert_close(alone[12:-12], whole[12:-12])
    assert not torch.isclose(alone[0], whole[0], atol=1e-3).all()


def test_the_generator_leaves_auto_encoders_as_they_were(store, networks):
    before = copy.deepcopy(networks)
    generator(store, networks, epochs=1)
    for part in PARTS:
        assert same_weights(before[part], networks[part])
        assert all(weight.grad is None for weight in networks[part].parameters())


def test_codes_survive_the_disk_to_the_byte(store, networks, tmp_path):
    codes = encode_codes(store, networks, rules=CORRECTED)
    for name in ("a", "b"):
        write_codes(tmp_path / name, codes)
    back = read_codes(tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert set(back) == set(PARTS)
    for part in PARTS:
        assert back[part].dtype == np.int16
        np.testing.assert_array_equal(back[part], codes[part])
    assert {key.split("/")[1] for key in code_usage(back, networks)} == {"codes_used", "perplexity"}


def test_codes_of_other_features_are_one_line(store, networks):
    codes = {part: np.zeros(17, np.int16) for part in PARTS}
    with pytest.raises(
        InputError, match="codes of face: found 17 frames; expected the features' 450"
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
            tracker=NullTracker(),
        )


def test_text_is_dropped_by_whole_windows():
    torch.manual_seed(0)
    kept = drop_text(torch.full((2000, 3), 4), 0.2)
    assert ((kept == 4).all(1) | (kept == 0).all(1)).all()
    assert float((kept == 0).float().mean()) == pytest.approx(0.2, abs=0.03)


def test_a_curve_is_told_to_the_tracker_and_written_as_csv(tmp_path):
    told = []

    class Told:
        def metrics(self, values, step=0):
            told.append((step, dict(values)))

    curve = Curve(Told())
    curve.add(0, {"train/loss": 1.23456789, "val/loss": 2.0})
    curve.add(1, {"train/loss": 1e-7, "val/loss": 1.5})
    curve.write(tmp_path / "c.csv")
    with (tmp_path / "c.csv").open() as file:
        assert list(csv.reader(file)) == [
            ["epoch", "train/loss", "val/loss"],
            ["0", "1.23457", "2"],
            ["1", "1e-07", "1.5"],
        ]
    assert told == [
        (0, {"train/loss": 1.23456789, "val/loss": 2.0}),
        (1, {"train/loss": 1e-7, "val/loss": 1.5}),
    ]


def test_the_device_is_the_one_asked_for(monkeypatch):
    monkeypatch.setenv("MAMBATALK_DEVICE", "meta")
    assert device() == torch.device("meta")
