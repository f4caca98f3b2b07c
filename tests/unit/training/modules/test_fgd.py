"""Training of the FGD encoder."""

import torch

from mambatalk.features.store import FeatureStore
from tests.helpers.tiny_training import same_weights, train_fgd


def test_fgd_encoder_learns(store: FeatureStore) -> None:
    trained = train_fgd(store, epochs=40)
    rows = trained.curve.rows
    assert rows[-1]["train/loss"] < 0.6 * rows[0]["train/loss"]
    assert trained.network(torch.zeros(1, 64, 330)).shape == (1, 4, 20)
    assert trained.metrics["loss"] == min(row["val/loss"] for row in rows)
    assert not trained.network.training


def test_hyper_parameters_come_from_the_configuration(store: FeatureStore) -> None:
    first = train_fgd(store)
    assert same_weights(first.network, train_fgd(store).network)
    for changes in ({"betas": (0.5, 0.99)}, {"min_deviation": 0.5}, {"decoder_hidden": 32}):
        assert not same_weights(first.network, train_fgd(store, **changes).network)
