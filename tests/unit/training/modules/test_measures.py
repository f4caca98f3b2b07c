"""Codes that collapse, parts that stand still, and a root that runs away are measured."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mambatalk.features.store import FeatureStore
from mambatalk.fidelity import CORRECTED, PUBLISHED, FidelityRules
from mambatalk.models.vq.vqvae import VQVAE, AutoEncoder
from mambatalk.motion.parts import PART_TRANSLATION, ground_velocity
from mambatalk.motion.skeleton import PART_DIMS, PARTS, TRANSLATION, Part
from mambatalk.training.modules.measures import measure_global, measure_vqvae
from tests.helpers.tiny_training import CPU, train_vq


def measure(
    part: Part, network: VQVAE, store: FeatureStore, rules: FidelityRules = CORRECTED
) -> dict[str, float]:
    return measure_vqvae(part, network, store, rules=rules, device=CPU, seed=0)


def network_of(part: Part) -> VQVAE:
    torch.manual_seed(0)
    return VQVAE(PART_DIMS[part], 16, 2, 16).eval()


@pytest.mark.parametrize("rules", [CORRECTED, PUBLISHED])
@pytest.mark.parametrize("part", PARTS)
def test_every_part_is_measured(part: Part, store: FeatureStore, rules: FidelityRules) -> None:
    measures = measure(part, network_of(part), store, rules)
    assert set(measures) == {"codes_used", "perplexity", "kmeans_perplexity", "range_ratio"}
    assert 0 < measures["codes_used"] <= 1
    assert 1 <= measures["perplexity"] <= 16
    assert 4 < measures["kmeans_perplexity"] <= 16, "k-means uses what the latents offer"


def test_a_collapsed_codebook_has_perplexity_one(store: FeatureStore) -> None:
    network = network_of("upper")
    with torch.no_grad():
        network.quantizer.table[1:] = 1e3
    measures = measure("upper", network, store)
    assert measures["perplexity"] == pytest.approx(1)
    assert measures["codes_used"] == 1 / 16
    assert measures["kmeans_perplexity"] > 4


def test_a_decoder_that_ignores_its_codes_has_range_zero(store: FeatureStore) -> None:
    network = network_of("hands")

    class Constant(nn.Module):
        def forward(self, vectors: Tensor) -> Tensor:
            pose = torch.tensor([1.0, 0, 0, 0, 1, 0]).repeat(PART_DIMS["hands"] // 6)
            return pose.expand(*vectors.shape[:2], -1)

    network.decoder = Constant()  # type: ignore[assignment]
    assert measure("hands", network, store)["range_ratio"] == pytest.approx(0, abs=1e-6)


def test_expressions_that_stand_still_are_not_hidden_by_a_moving_jaw(store: FeatureStore) -> None:
    network = network_of("face")
    moving = measure("face", network, store)["range_ratio"]

    class StillExpressions(nn.Module):
        def __init__(self, decoder: nn.Module) -> None:
            super().__init__()
            self.decoder = decoder

        def forward(self, vectors: Tensor) -> Tensor:
            motion = self.decoder(vectors).clone()
            motion[..., 6:] = 0
            return motion

    network.decoder = StillExpressions(network.decoder)  # type: ignore[assignment]
    assert moving > 0.01
    assert measure("face", network, store)["range_ratio"] == 0


def test_training_measures_after_each_epoch_and_reports_the_last(store: FeatureStore) -> None:
    trained = train_vq("hands", store, epochs=3)
    rows = trained.curve.rows
    for key in ("codes_used", "perplexity", "kmeans_perplexity", "range_ratio"):
        assert all(f"check/{key}" in row for row in rows)
        assert trained.metrics[key] == rows[-1][f"check/{key}"]
    assert isinstance(trained.network, VQVAE)
    again = measure("hands", trained.network, store)
    assert again == {key: trained.metrics[key] for key in again}


def test_measuring_leaves_the_random_number_generators_alone(store: FeatureStore) -> None:
    torch.manual_seed(3)
    np.random.seed(3)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]
    measure("upper", network_of_seeded(), store)
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # type: ignore[index]


def network_of_seeded() -> VQVAE:
    with torch.random.fork_rng():
        return network_of("upper")


class Ground(AutoEncoder):
    """A global-motion network that gives the recorded ground velocity, scaled, plus a constant."""

    def __init__(self, store: FeatureStore, *, scale: float = 1.0, drift: float = 0.0) -> None:
        super().__init__(PART_DIMS["global"], 8, 2)
        clips = store.clips_in_split("train")
        self.truth = [torch.from_numpy(store.motion[store.frames(clip)].copy()) for clip in clips]
        self.scale = scale
        self.drift = drift

    def forward(self, x: Tensor) -> Tensor:
        (motion,) = (truth for truth in self.truth if len(truth) == x.shape[1])
        ground = self.scale * ground_velocity(motion[:, TRANSLATION].double())[None]
        ground[..., 0] += self.drift
        out = torch.zeros(1, len(motion), PART_DIMS["global"], dtype=torch.float64)
        out[..., PART_TRANSLATION] = ground
        return out


@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_the_path_of_the_root_is_compared_with_the_recording(
    store: FeatureStore, scale: float
) -> None:
    measures = measure_global(Ground(store, scale=scale), store, rules=CORRECTED, device=CPU)
    assert measures["range_ratio"] == pytest.approx(scale, rel=0.05)
    assert measures["drift_ratio"] == pytest.approx(scale, rel=0.05)


def test_a_root_that_runs_away_shows_as_drift(store: FeatureStore) -> None:
    running = Ground(store, drift=1.0)
    measures = measure_global(running, store, rules=CORRECTED, device=CPU)
    assert measures["drift_ratio"] > 2
